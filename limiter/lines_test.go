package limiter

import (
	"reflect"
	"testing"
	"time"
	"unsafe"
)

// What Pass asks of a side lies in two cache lines, and nothing of it points anywhere.
func TestASidesLines(t *testing.T) {
	var sd side
	if unsafe.Sizeof(uintptr(0)) == 8 {
		if at := unsafe.Offsetof(sd.frames) + unsafe.Sizeof(sd.frames); at > 128 || unsafe.Sizeof(sd)%64 != 0 {
			t.Errorf("what a frame that passes needs ends at %d, a side at %d", at, unsafe.Sizeof(sd))
		}
	}
	for _, of := range []any{queued{}, flow{}, timer{}, unit{}} {
		noPointers(t, reflect.TypeOf(of), reflect.TypeOf(of).String())
	}
	// rate.Limiter has time.Time's pointer to its place, which is nil for the times that Bucket works with.
	l := newLine(t, MemoryUnit)
	l.s.Set(2, 1000, 1, l.now)
	l.s.Pass(2, 100, l.now)
	l.s.Set(2, 0, 1, l.now)
	l.s.SetTotal(0, 1000, l.now)
	l.s.Spend(0, 100, l.now)
	times := 0
	noPlaces(t, reflect.ValueOf(&l.s.sides[2]).Elem(), &times)
	if times == 0 {
		t.Error("no time.Time was looked at")
	}
}

func noPointers(t *testing.T, typ reflect.Type, path string) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			noPointers(t, typ.Field(i).Type, path+"."+typ.Field(i).Name)
		}
	case reflect.Array:
		noPointers(t, typ.Elem(), path)
	case reflect.Pointer, reflect.UnsafePointer, reflect.Slice, reflect.String, reflect.Map, reflect.Chan, reflect.Func, reflect.Interface:
		t.Errorf("%s is a %v", path, typ)
	}
}

// noPlaces fails if a time.Time in v has a location, or anything else is a pointer that is set.
func noPlaces(t *testing.T, v reflect.Value, times *int) {
	t.Helper()
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		if *times++; !v.FieldByName("loc").IsNil() {
			t.Error("a time has a location")
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			noPlaces(t, v.Field(i), times)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		t.Errorf("a %v points somewhere", v.Type())
	}
}
