package api

// List is a page of objects. Next is the cursor of the page after it, empty
// after the last.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next" doc:"the cursor of the next page; empty after the last"`
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
	return &listAnswer[T]{List[T]{items, next}}
}
