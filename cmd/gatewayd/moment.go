package main

import (
	"fmt"
	"time"
)

// momentFlag is a moment.
type momentFlag struct{ time.Time }

const momentForms = "2026-11-22, \"2026-11-22 15:04\" or 2026-11-22T15:04:05+01:00; the first two by the clock of this box"

func (f *momentFlag) Type() string   { return "TIME" }
func (f *momentFlag) String() string { return "" }

// Set reads a day, a minute of it, or RFC 3339.
func (f *momentFlag) Set(text string) error {
	for _, form := range []string{time.DateOnly, "2006-01-02 15:04", time.RFC3339} {
		if at, err := time.ParseInLocation(form, text, time.Local); err == nil {
			f.Time = at
			return nil
		}
	}
	return fmt.Errorf("%q is not a moment: write %s", text, momentForms)
}
