package main

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

var colors = map[string]color.Color{
	stock:     color.RGBA{0xc9, 0xce, 0xd3, 0xff},
	hotspot:   color.RGBA{0x8a, 0x93, 0x9b, 0xff},
	ourselves: color.RGBA{0x1f, 0x77, 0xb4, 0xff},
	natOnly:   color.RGBA{0x44, 0x4c, 0x54, 0xff},
	routed:    color.RGBA{0x8a, 0x93, 0x9b, 0xff},
	policer:   color.RGBA{0xb0, 0x8a, 0x5c, 0xff},
}

var targetColor = color.RGBA{0xd6, 0x27, 0x28, 0xff}

// A bar is one place on a plot's axis: a figure of a trial, and what it is called
// there.
type bar struct{ trial, figure, name string }

// A panel is a plot of one factor.
type panel struct {
	title string
	bars  []bar
}

// panels are the factors.
var panels = []panel{
	{"TCP flows", []bar{{"tcp_up_1", goodput, "1 up"}, {"tcp_down_1", goodput, "1 down"}, {"tcp_up_8", goodput, "8 up"}, {"tcp_down_8", goodput, "8 down"}}},
	{"TCP, offloads off", []bar{{"plain_up_1", goodput, "1 up"}, {"plain_down_1", goodput, "1 down"}, {"plain_up_8", goodput, "8 up"}, {"plain_down_8", goodput, "8 down"}}},
	{"size of a UDP packet, bytes", []bar{{"udp_64", delivered, "64"}, {"udp_512", delivered, "512"}, {"udp_1400", delivered, "1400"}}},
	{"clients that send 64 bytes, of 10,000", []bar{{"clients_1", delivered, "1"}, {"clients_100", delivered, "100"}, {"clients_10000", delivered, "10,000"}}},
	{"flows of 64 bytes", []bar{{"flows_1", delivered, "1"}, {"flows_1000", delivered, "1,000"}, {"flows_100000", delivered, "100,000"}}},
	{"new flows answered", []bar{{"new_mappings", perSecond, "mappings"}, {"new_remotes", perSecond, "remotes"}}},
	{"round trip", []bar{{"rtt_idle", p50, "idle p50"}, {"rtt_idle", p99, "idle p99"}, {"rtt_loaded", p50, "bulk p50"}, {"rtt_loaded", p99, "bulk p99"}}},
	{"packets of 64 bytes per CPU-second", []bar{{"udp_64", perCPU, "flat out"}, {"udp_even", perCPU, "100,000/s"}, {"clients_even", perCPU, "10,000 cl."}}},
	{"filled plans down, % of the plan by Mbit/s and flows", []bar{{"plan_down_1_1", ofPlan, "1, 1"}, {"plan_down_1_32", ofPlan, "1, 32"}, {"plan_down_20_1", ofPlan, "20, 1"},
		{"plan_down_20_32", ofPlan, "20, 32"}, {"plan_down_500_1", ofPlan, "500, 1"}, {"plan_down_500_32", ofPlan, "500, 32"}}},
	{"TCP per CPU-second", []bar{{"tcp_up_1", perCPU, "1 up"}, {"tcp_down_1", perCPU, "1 down"}, {"tcp_up_8", perCPU, "8 up"}, {"tcp_down_8", perCPU, "8 down"}}},
}

// find returns a proven figure.
func (r *report) find(trial, key string) (entry, bool) {
	for _, e := range r.Figures {
		if e.Trial == trial && e.Figure == key && len(e.Sides) != 0 {
			return e, true
		}
	}
	return entry{}, false
}

// factorPlots are the panels that have figures.
func (r *report) factorPlots() (list []template.HTML, err error) {
	for _, p := range panels {
		var found []entry
		var names []string
		for _, b := range p.bars {
			if e, proven := r.find(b.trial, b.figure); proven {
				found, names = append(found, e), append(names, b.name)
			}
		}
		if len(found) == 0 {
			continue
		}
		drawn, err := bars(p.title, found, names)
		if err != nil {
			return nil, fmt.Errorf("plot %s: %w", p.title, err)
		}
		picture, err := svg(drawn, 9.5*vg.Centimeter, 6.5*vg.Centimeter)
		if err != nil {
			return nil, err
		}
		list = append(list, picture)
	}
	return list, nil
}

// svg is a plot as a part of a page.
func svg(p *plot.Plot, width, height vg.Length) (template.HTML, error) {
	canvas := vgsvg.New(width, height)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	text := b.String()
	return template.HTML(text[max(strings.Index(text, "<svg"), 0):]), nil
}

// spreads are medians with what lies around them.
type spreads struct {
	plotter.XYs
	plotter.YErrors
}

func (s *spreads) add(x float64, y summary) {
	s.XYs = append(s.XYs, plotter.XY{X: x, Y: y.Median})
	s.YErrors = append(s.YErrors, struct{ Low, High float64 }{y.Median - y.Min, y.Max - y.Median})
}

// bars draws all sides' medians, with the spread.
func bars(title string, list []entry, names []string) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.Y.Label.Text = list[0].Unit
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = vg.Points(7)
	const width = 0.2
	sides := kernels
	if list[0].Shaped {
		sides = shapers
	}
	for i, side := range sides {
		var around spreads
		for n, e := range list {
			s, measured := e.Sides[side]
			if !measured {
				continue
			}
			x := float64(n) + (float64(i)-1.5)*width
			around.add(x, s)
			box, err := plotter.NewPolygon(plotter.XYs{{X: x - width/2, Y: 0}, {X: x - width/2, Y: s.Median}, {X: x + width/2, Y: s.Median}, {X: x + width/2, Y: 0}})
			if err != nil {
				return nil, err
			}
			box.Color, box.LineStyle.Width = colors[side], 0
			p.Add(box)
			if len(around.XYs) == 1 {
				p.Legend.Add(side, box)
			}
		}
		if len(around.XYs) == 0 {
			continue
		}
		lines, err := plotter.NewYErrorBars(&around)
		if err != nil {
			return nil, err
		}
		p.Add(lines)
	}
	p.Y.Max *= 1.45 // room for the legend
	p.NominalX(names...)
	p.X.Tick.Label.Font.Size = vg.Points(9)
	p.X.Min, p.X.Max = -0.5, float64(len(list))-0.5
	return p, nil
}

// ratioPlots are gatewayd's figures that have a target, beside each kernel, and a
// bridge's beside the route.
func (r *report) ratioPlots() (list []template.HTML, err error) {
	for _, kernel := range []string{hotspot, natOnly, routed} {
		p, err := r.relative(kernel)
		if err != nil {
			return nil, fmt.Errorf("plot ratios to the %s: %w", kernel, err)
		}
		if p == nil {
			continue
		}
		picture, err := svg(p, 29.5*vg.Centimeter, 7.5*vg.Centimeter)
		if err != nil {
			return nil, err
		}
		list = append(list, picture)
	}
	return list, nil
}

// relative draws each ratio with a target, the median with the spread.
func (r *report) relative(kernel string) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = "gatewayd / " + kernel
	if kernel == routed {
		p.Title.Text = "gatewayd, bridge / " + kernel
	}
	p.Y.Label.Text = "ratio"
	p.Y.Min = 0
	p.Legend.Top = true
	var medians spreads
	var each plotter.XYs
	var names []string
	for _, e := range r.Figures {
		b := e.Beside[kernel]
		if b.Target == nil || b.Target.Kind == plus {
			continue
		}
		n := float64(len(names))
		medians.add(n, b.Ratio)
		for _, ratio := range b.Each {
			each = append(each, plotter.XY{X: n + 0.12, Y: ratio})
		}
		line, err := plotter.NewLine(plotter.XYs{{X: n - 0.35, Y: b.Target.Bound}, {X: n + 0.35, Y: b.Target.Bound}})
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = targetColor, vg.Points(1.5)
		p.Add(line)
		if n == 0 {
			p.Legend.Add("target", line)
		}
		names = append(names, strings.NewReplacer(", ", ",\n", " on ", " on\n", " under ", "\nunder ").Replace(e.Title)+map[bool]string{true: "\n(at most)"}[b.Target.Kind == atMost])
	}
	if len(names) == 0 {
		return nil, nil
	}
	middle, err := plotter.NewScatter(&medians)
	if err != nil {
		return nil, err
	}
	middle.Color, middle.Shape, middle.Radius = colors[ourselves], draw.CircleGlyph{}, vg.Points(4)
	dots, err := plotter.NewScatter(each)
	if err != nil {
		return nil, err
	}
	dots.Color, dots.Shape, dots.Radius = colors[hotspot], draw.CircleGlyph{}, vg.Points(2)
	lines, err := plotter.NewYErrorBars(&medians)
	if err != nil {
		return nil, err
	}
	p.Add(lines, dots, middle, plotter.NewGrid())
	p.Legend.Add("median", middle)
	p.Legend.Add("each pair", dots)
	p.Y.Max = max(p.Y.Max*1.2, 1.2)
	p.NominalX(names...)
	p.X.Tick.Label.Font.Size = vg.Points(7)
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	p.X.Min, p.X.Max = -0.5, float64(len(names))+0.2 // room for the legend
	return p, nil
}
