package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Error is one thing wrong with a config.
type Error struct {
	File   string // as it was named; empty for a Config built in Go
	Line   int    // from 1; 0 when the problem has no place in the file
	Column int    // from 1, in characters
	Key    string // lan.address; empty when it is about the file as a whole
	Reason string // what is wrong, and what would be right

	source string // the line
}

// Errors is every problem of one config, in the order of the file; what has no
// place in it comes last.
type Errors []Error

const (
	shownErrors  = 20  // of one file, as text
	shownColumns = 100 // of one line
)

// Error returns file:line:column: key: reason, then the line and a caret under the column.
func (e *Error) Error() string {
	var text strings.Builder
	if e.File != "" {
		text.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&text, "%d:%d:", e.Line, e.Column)
		}
		text.WriteByte(' ')
	}
	if e.Key != "" {
		text.WriteString(e.Key + ": ")
	}
	text.WriteString(e.Reason)
	if e.Line > 0 {
		source, caret := e.excerpt()
		number := fmt.Sprintf("%5d", e.Line)
		fmt.Fprintf(&text, "\n%s | %s\n%s | %s", number, source, strings.Repeat(" ", len(number)), caret)
	}
	return text.String()
}

// excerpt returns the line, or the part of a long one around the column, and a
// line with a caret under it. Characters that a terminal would not show as one
// are replaced; tabs stay, in both.
func (e *Error) excerpt() (source, caret string) {
	line := []rune(e.source)
	at := min(e.Column-1, len(line))
	from := 0
	if at >= shownColumns {
		from = at - shownColumns/2
	}
	to := min(len(line), from+shownColumns)
	var shown, pad strings.Builder
	if from > 0 {
		shown.WriteString("…")
		pad.WriteByte(' ')
	}
	for i, c := range line[from:to] {
		blank := ' '
		switch {
		case c == '\t':
			blank = '\t'
		case !unicode.IsPrint(c) || unicode.Is(unicode.Mn, c):
			c = '·'
		}
		shown.WriteRune(c)
		if from+i < at {
			pad.WriteRune(blank)
		}
	}
	if to < len(line) {
		shown.WriteString("…")
	}
	return shown.String(), pad.String() + "^"
}

// locate sorts the errors by their place and gives each the file's name and its line.
func (e Errors) locate(name string, lines []string) {
	slices.SortStableFunc(e, func(a, b Error) int {
		switch {
		case a.Line == 0 || b.Line == 0:
			return b.Line - a.Line // no place: last
		case a.Line != b.Line:
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	for i := range e {
		e[i].File = name
		if n := e[i].Line; n > 0 && n <= len(lines) {
			e[i].source = lines[n-1]
		}
	}
}

// Error returns all of them, one after the other.
func (e Errors) Error() string {
	texts := make([]string, 0, shownErrors+1)
	for i := range e {
		if i == shownErrors {
			texts = append(texts, fmt.Sprintf("and %d more", len(e)-i))
			break
		}
		texts = append(texts, e[i].Error())
	}
	return strings.Join(texts, "\n")
}

// Unwrap gives errors.As each Error.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = &e[i]
	}
	return errs
}
