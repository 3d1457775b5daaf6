package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// page is one answer of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`

	Partial bool `json:"partial"` // the store is away
}

// pageFlags ask for one page; without them a list is printed to its end.
type pageFlags struct {
	limit  int
	cursor string
}

func addPageFlags(cmd *cobra.Command) *pageFlags {
	p := &pageFlags{}
	cmd.Flags().IntVar(&p.limit, "limit", 0, "print one page of at most `N` items")
	cmd.Flags().StringVar(&p.cursor, "cursor", "", "begin at this `CURSOR`, the next of the page before")
	return p
}

// list prints the items of path: with --json one page, unchanged; else all of
// them, or with --limit one page and how to see the next.
func list[T any](cmd *cobra.Command, opt *options, p *pageFlags, path string, query url.Values, show func(w io.Writer, items []T)) error {
	paged := cmd.Flags().Changed("limit")
	if paged {
		query.Set("limit", strconv.Itoa(p.limit))
	}
	var items []T
	partial := false // any page
	for cursor := p.cursor; ; {
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var next string
		err := answer(cmd, opt, "GET", path+"?"+query.Encode(), nil, func(_ io.Writer, part page[T]) {
			items, next, partial = append(items, part.Items...), part.Next, partial || part.Partial
		})
		if err != nil || opt.json {
			return err
		}
		if next == "" || paged {
			show(cmd.OutOrStdout(), items)
			if partial {
				fmt.Fprintln(cmd.OutOrStdout(), "some may be missing: the store is away, and these are those in memory; see gatewayd status")
			}
			if next != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "more with --limit %d --cursor %s\n", p.limit, next)
			}
			return nil
		}
		cursor = next
	}
}
