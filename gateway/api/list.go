package api

import (
	"errors"

	"gatewayd/sessions"
)

// List is a page of objects. Next is the cursor of the page after it, empty
// after the last.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next" doc:"the cursor of the next page; empty after the last"`

	Partial bool `json:"partial,omitempty" doc:"the store is away, and these are those in memory only; absent when it is there"`
}

// Page asks for a part of a list.
type Page struct {
	Cursor string `query:"cursor" maxLength:"256" doc:"next of the page before; empty for the first"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many items at most"`
}

type listAnswer[T any] struct{ Body List[T] }

// listed makes a page's answer; an empty list is [], never null.
func listed[T any](items []T, next string) *listAnswer[T] {
	if items == nil {
		items = []T{}
	}
	return &listAnswer[T]{List[T]{Items: items, Next: next}}
}

// listedPart makes a page's answer, also of a page that came with the error that
// the store is away.
func listedPart[T any](items []T, next string, err error, call ...string) (*listAnswer[T], error) {
	partial := items != nil && errors.Is(err, sessions.ErrUnavailable)
	if err != nil && !partial {
		return nil, refused(err, call...)
	}
	answer := listed(items, next)
	answer.Body.Partial = partial
	return answer, nil
}
