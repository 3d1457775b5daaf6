// Package arena is where the packet path keeps its big tables: memory of the
// process that the garbage collector neither scans nor counts.
//
// # Nouns
//
// An arena is a set of tables that are given back together. A table is a slice
// of a type without pointers, zero at first, that starts on a page and stays in
// place. Its pages cost memory once they are written to.
//
// # What it does not do
//
// It does not grow a table or give back a single one. A table must not be
// touched once its arena is closed, and not hold the only pointer to anything.
package arena

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Arena is a set of tables. A nil one takes them from the heap, for tests of
// what does not care.
type Arena struct{ maps [][]byte }

// Make gives *table n elements, none if n is 0.
func Make[T any](a *Arena, table *[]T, n int) error {
	if a == nil || n == 0 {
		*table = make([]T, n)
		return nil
	}
	var t T
	size := int(unsafe.Sizeof(t))
	if n < 0 || size == 0 || n > int(^uint(0)>>1)/size {
		return fmt.Errorf("a table of %d times %d bytes: no such size", n, size)
	}
	mem, err := unix.Mmap(-1, 0, n*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("%d bytes of memory for a table: mmap: %w", n*size, err)
	}
	a.maps = append(a.maps, mem)
	*table = unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), n)
	return nil
}

// Bytes is the size of all tables, whether their pages were touched or not.
func (a *Arena) Bytes() (n int) {
	for _, m := range a.maps {
		n += len(m)
	}
	return n
}

// Close gives all tables back. Closing again does nothing.
func (a *Arena) Close() error {
	var errs []error
	for _, m := range a.maps {
		if err := unix.Munmap(m); err != nil {
			errs = append(errs, fmt.Errorf("give %d bytes of a table back: munmap: %w", len(m), err))
		}
	}
	a.maps = nil
	return errors.Join(errs...)
}
