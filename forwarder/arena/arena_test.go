package arena

import (
	"math"
	"testing"
	"unsafe"
)

type entry struct {
	a uint64
	b uint32
}

func TestTablesAreZeroAndStayApart(t *testing.T) {
	var a Arena
	defer a.Close()
	var first, second []entry
	for _, table := range []*[]entry{&first, &second} {
		if err := Make(&a, table, 1000); err != nil || len(*table) != 1000 {
			t.Fatalf("%d elements, %v", len(*table), err)
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(*table))); at%64 != 0 {
			t.Errorf("a table at %#x starts inside a cache line", at)
		}
	}
	for i := range first {
		first[i] = entry{math.MaxUint64, math.MaxUint32}
	}
	for i, e := range second {
		if e != (entry{}) {
			t.Fatalf("element %d is %v", i, e)
		}
	}
	if want := 2000 * int(unsafe.Sizeof(entry{})); a.Bytes() != want {
		t.Errorf("%d bytes, want %d", a.Bytes(), want)
	}
	if err := a.Close(); err != nil || a.Bytes() != 0 {
		t.Errorf("closed: %v, %d bytes", err, a.Bytes())
	}
	if err := a.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestWhatCannotBeMade(t *testing.T) {
	var a Arena
	defer a.Close()
	var table []entry
	for _, n := range []int{-1, math.MaxInt, math.MaxInt / 16} {
		if err := Make(&a, &table, n); err == nil || table != nil {
			t.Errorf("%d elements: %v", n, err)
		}
	}
	if err := Make(&a, &table, 0); err != nil || len(table) != 0 {
		t.Errorf("no elements: %v", err)
	}
	if err := Make(nil, &table, 5); err != nil || len(table) != 5 {
		t.Errorf("without an arena: %d elements, %v", len(table), err)
	}
}
