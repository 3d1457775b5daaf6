package forwarder

import (
	"reflect"
	"testing"
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
		{"what is seldom needed begins the third", unsafe.Offsetof(c.taken), 128},
		{"a client ends with a line", unsafe.Sizeof(c) % 64, 0},
	}
	for _, row := range rows {
		if row.at != row.want {
			t.Errorf("%s: at %d, want %d", row.name, row.at, row.want)
		}
	}
}

// What lies outside the heap keeps nothing alive, so it must not point to it.
func TestTablesPointNowhere(t *testing.T) {
	for _, of := range []any{client{}, waiting{}, turnCount{}, glimpse{}} {
		noPointers(t, reflect.TypeOf(of), reflect.TypeOf(of).String())
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
