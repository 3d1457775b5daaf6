package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	kernelColor   = color.RGBA{0x8a, 0x93, 0x9b, 0xff}
	gatewaydColor = color.RGBA{0x1f, 0x77, 0xb4, 0xff}
	targetColor   = color.RGBA{0xd6, 0x27, 0x28, 0xff}
)

const width, height = 32 * vg.Centimeter, 22 * vg.Centimeter

// units are those that are drawn.
var units = []string{"Gbit/s", "Mpps", "µs"}

// draw draws the report into a PNG and an SVG file: a panel a unit with both
// sides' medians and spreads, and one with the ratios of all pairs.
func (r *report) draw(png, svg string) error {
	var panels []*plot.Plot
	for _, unit := range units {
		p, err := absolute(r.of(unit))
		if err != nil {
			return fmt.Errorf("plot %s: %w", unit, err)
		}
		if p != nil {
			panels = append(panels, p)
		}
	}
	p, err := relative(r.of(units...))
	if err != nil {
		return fmt.Errorf("plot ratios: %w", err)
	}
	if p != nil {
		panels = append(panels, p)
	}
	if len(panels) == 0 {
		return nil
	}
	pixels := vgimg.PngCanvas{Canvas: vgimg.New(width, height)}
	tile(panels, draw.New(pixels))
	vector := vgsvg.New(width, height)
	tile(panels, draw.New(vector))
	for name, canvas := range map[string]vg.CanvasWriterTo{png: pixels, svg: vector} {
		file, err := os.Create(name)
		if err != nil {
			return err
		}
		if _, err := canvas.WriteTo(file); err != nil {
			file.Close()
			return fmt.Errorf("write %s: %w", filepath.Base(name), err)
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}

// tile lays panels out two in a row.
func tile(panels []*plot.Plot, c draw.Canvas) {
	const gap = 8 * vg.Millimeter
	tiles := draw.Tiles{Rows: (len(panels) + 1) / 2, Cols: min(len(panels), 2),
		PadX: gap, PadY: gap, PadTop: gap, PadBottom: gap, PadLeft: gap, PadRight: gap}
	for i, p := range panels {
		p.Draw(tiles.At(c, i%2, i/2))
	}
}

// of are the figures with one of the units that have pairs.
func (r *report) of(units ...string) []figureEntry {
	var list []figureEntry
	for _, e := range r.Figures {
		if e.Ratio != nil && slices.Contains(units, e.Unit) {
			list = append(list, e)
		}
	}
	return list
}

// spreads are medians with what lies around them.
type spreads struct {
	plotter.XYs
	plotter.YErrors
}

func (s *spreads) add(x float64, y *summary) {
	s.XYs = append(s.XYs, plotter.XY{X: x, Y: y.Median})
	s.YErrors = append(s.YErrors, struct{ Low, High float64 }{y.Median - y.Min, y.Max - y.Median})
}

// absolute draws both sides' bars, with the spread.
func absolute(list []figureEntry) (*plot.Plot, error) {
	if len(list) == 0 {
		return nil, nil
	}
	p := plot.New()
	p.Y.Label.Text = list[0].Unit
	p.Title.Text = "more is better"
	if list[0].Less {
		p.Title.Text = "less is better"
	}
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	for i, sd := range []struct {
		name  string
		color color.Color
		value func(figureEntry) *summary
	}{
		{"kernel hotspot", kernelColor, func(e figureEntry) *summary { return e.Kernel }},
		{"gatewayd", gatewaydColor, func(e figureEntry) *summary { return e.Gatewayd }},
	} {
		var medians plotter.Values
		var around spreads
		shift := (float64(i) - 0.5) * 0.3
		for n, e := range list {
			medians = append(medians, sd.value(e).Median)
			around.add(float64(n)+shift, sd.value(e))
		}
		for n, v := range medians {
			box, err := plotter.NewPolygon(plotter.XYs{
				{X: float64(n) + shift - 0.14, Y: 0}, {X: float64(n) + shift - 0.14, Y: v},
				{X: float64(n) + shift + 0.14, Y: v}, {X: float64(n) + shift + 0.14, Y: 0}})
			if err != nil {
				return nil, err
			}
			box.Color, box.LineStyle.Width = sd.color, 0
			p.Add(box)
			if n == 0 {
				p.Legend.Add(sd.name, box)
			}
		}
		bars, err := plotter.NewYErrorBars(&around)
		if err != nil {
			return nil, err
		}
		p.Add(bars)
	}
	p.Y.Max *= 1.25 // room for the legend
	name(p, list)
	return p, nil
}

// relative draws each pair's ratio, the median with the spread, and the target.
func relative(list []figureEntry) (*plot.Plot, error) {
	if len(list) == 0 {
		return nil, nil
	}
	p := plot.New()
	p.Title.Text = "gatewayd / kernel hotspot, runs that follow each other"
	p.Y.Label.Text = "ratio"
	p.Y.Min = 0
	p.Legend.Top = true
	var medians spreads
	var each plotter.XYs
	for n, e := range list {
		medians.add(float64(n), e.Ratio)
		for _, one := range e.Pairs {
			each = append(each, plotter.XY{X: float64(n) + 0.12, Y: one.Ratio})
		}
		if e.Target == 0 {
			continue
		}
		line, err := plotter.NewLine(plotter.XYs{{X: float64(n) - 0.35, Y: e.Target}, {X: float64(n) + 0.35, Y: e.Target}})
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = targetColor, vg.Points(1.5)
		p.Add(line)
		if n == 0 {
			p.Legend.Add("target", line)
		}
	}
	middle, err := plotter.NewScatter(&medians)
	if err != nil {
		return nil, err
	}
	middle.Color, middle.Shape, middle.Radius = gatewaydColor, draw.CircleGlyph{}, vg.Points(4)
	dots, err := plotter.NewScatter(each)
	if err != nil {
		return nil, err
	}
	dots.Color, dots.Shape, dots.Radius = kernelColor, draw.CircleGlyph{}, vg.Points(2)
	bars, err := plotter.NewYErrorBars(&medians)
	if err != nil {
		return nil, err
	}
	p.Add(bars, dots, middle, plotter.NewGrid())
	p.Legend.Add("median", middle)
	p.Legend.Add("each pair", dots)
	p.Y.Max = max(p.Y.Max*1.2, 1.2)
	name(p, list)
	return p, nil
}

// name puts the figures' titles below, in two lines.
func name(p *plot.Plot, list []figureEntry) {
	var titles []string
	for _, e := range list {
		titles = append(titles, strings.Replace(e.Title, ", ", ",\n", 1))
	}
	p.NominalX(titles...)
	p.X.Min, p.X.Max = -0.5, float64(len(list))-0.5
}
