package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"of":           entry.of,
	"beside":       entry.beside,
	"verdict":      func(e entry, kernel string) string { return e.Beside[kernel].verdict() },
	"class":        func(e entry, kernel string) string { return e.Beside[kernel].class() },
	"want":         entry.want,
	"reached":      entry.reached,
	"reachedClass": entry.reachedClass,
	"number":       number,
	"billion":      func(n uint64) string { return number(float64(n) / 1e9) },
	"plus":         func(n int64) string { return fmt.Sprintf("%+d", n) },
}).Parse(pageText))

// class is a verdict's in the page's style.
func (b besides) class() string {
	switch {
	case b.Void != "":
		return "void"
	case b.Met == nil:
		return ""
	case *b.Met:
		return "met"
	}
	return "missed"
}

// sheet is what the page shows.
type sheet struct {
	*report
	Stock, Hotspot, NAT, Ours string
	Costs, Offered            []string
	Ratios, Factors           []template.HTML // SVG
	Met, Missed, Void         int
	Unshaped, Shaping         []entry
	Bridging                  []entry
	Policer, Routed           string
}

// page is the report as one HTML file that needs no other.
func (r *report) page() ([]byte, error) {
	s := sheet{report: r, Stock: stock, Hotspot: hotspot, NAT: natOnly, Ours: ourselves, Costs: r.costs(), Offered: r.offered()}
	s.Unshaped, s.Shaping, s.Policer = r.unshaped(), r.shaping(), policer
	s.Bridging, s.Routed = r.bridging(), routed
	for _, e := range r.Figures {
		switch e.reachedClass() {
		case "met":
			s.Met++
		case "missed":
			s.Missed++
		}
		for _, b := range e.Beside {
			switch b.class() {
			case "met":
				s.Met++
			case "missed":
				s.Missed++
			case "void":
				if b.Target != nil {
					s.Void++
				}
			}
		}
	}
	var err error
	if s.Ratios, err = r.ratioPlots(); err != nil {
		return nil, err
	}
	if s.Factors, err = r.factorPlots(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = pageTemplate.Execute(&b, s)
	return b.Bytes(), err
}
