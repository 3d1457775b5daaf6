package forwarder

import (
	"reflect"
	"testing"
	"time"
	"unsafe"
)

// What each packet needs of its client lies in as few cache lines as it takes.
func TestAClientsLines(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("64-bit machines only")
	}
	var c client
	rows := []struct {
		name     string
		at, want uintptr
	}{
		{"counters begin the second line", unsafe.Offsetof(c.use), 64},
		{"the side up begins the third", unsafe.Offsetof(c.sides), 128},
		{"the side down begins the fifth", unsafe.Offsetof(c.sides) + unsafe.Sizeof(c.sides[up]), 256},
		{"what is seldom needed begins the seventh", unsafe.Offsetof(c.taken), 384},
		{"a client ends with a line", unsafe.Sizeof(c) % 64, 0},
	}
	for _, row := range rows {
		if row.at != row.want {
			t.Errorf("%s: at %d, want %d", row.name, row.at, row.want)
		}
	}
}

// What lies outside the heap keeps nothing alive, so it must not point to it. The
// one pointer is time.Time's to its place, which is nil for the times that
// limiter.Bucket works with.
func TestTablesPointNowhere(t *testing.T) {
	for _, of := range []any{client{}, waiting{}, pace{}, turnCount{}, glimpse{}} {
		noPointers(t, reflect.TypeOf(of), reflect.TypeOf(of).String())
	}
	b := online(t, free())
	plan := free()
	plan.Up, plan.Down = 1000, 1000
	b.grant(alice, plan)
	b.table.Slot(alice).Record(1).Revoke(b.now)
	b.changed(alice)
	b.in(0, aliceUp.udp(100))
	b.pass(time.Second)
	times := 0
	noPlaces(t, reflect.ValueOf(&b.f.clients[alice]).Elem(), &times)
	if times == 0 {
		t.Error("no time.Time was looked at")
	}
}

func noPointers(t *testing.T, typ reflect.Type, path string) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Struct:
		if typ == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range typ.NumField() {
			noPointers(t, typ.Field(i).Type, path+"."+typ.Field(i).Name)
		}
	case reflect.Array:
		noPointers(t, typ.Elem(), path)
	case reflect.Pointer, reflect.UnsafePointer, reflect.Slice, reflect.String, reflect.Map, reflect.Chan, reflect.Func, reflect.Interface:
		t.Errorf("%s is a %v", path, typ)
	}
}

// noPlaces fails if a time.Time in v has a location.
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
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			noPlaces(t, v.Index(i), times)
		}
	}
}
