package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// Measures of the chart in pixels.
const (
	chartWidth = 760
	margin     = 16
	labelWidth = 212
	valueWidth = 128
	barHeight  = 16
	rowHeight  = 24
	headHeight = 92
	panelHead  = 32
	panelGap   = 14
)

const barsWidth = chartWidth - 2*margin - labelWidth - valueWidth

// style keeps text readable on a light and on a dark page: the chart has no
// background of its own.
const style = `
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 }
  .note, .tick { fill: #59636e }
  .head { font-size: 14px; font-weight: 600 }
  .strong { font-weight: 600 }
  .label { text-anchor: end }
  .bar-ours { fill: #0969da } .bar-raw { fill: #59636e } .bar-peer { fill: #a9b4c0 }
  .guide { stroke: #1f2328; stroke-dasharray: 2 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .note, .tick { fill: #9198a1 }
    .bar-ours { fill: #4493f8 } .bar-raw { fill: #9198a1 } .bar-peer { fill: #4b5661 }
    .guide { stroke: #f0f6fc }
  }
`

// draw writes the chart: a panel for each algorithm, a bar for each row, all
// panels to one scale. A line goes down from the end of the primitive's bar:
// what is beyond it is what a library adds.
func draw(b *bytes.Buffer, r results) {
	lines := rows(r)
	panel := panelHead + len(lines)*rowHeight + panelGap
	height := headHeight + len(algorithms())*panel
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`+"\n",
		chartWidth, height, chartWidth, height)
	b.WriteString(`<title id="title">Time to verify a token</title>` + "\n")
	fmt.Fprintf(b, `<desc id="desc">%s</desc>`+"\n", escape(describe(r, lines)))
	fmt.Fprintf(b, "<style>%s</style>\n", style)
	text(b, margin, 30, "title", "Time to verify a token")
	text(b, margin, 52, "note", "Shorter is better. Medians of interleaved runs; every library checks issuer, audience and expiry.")
	text(b, margin, 70, "note", "The dotted line is the standard library's signature check on the same bytes.")

	scale := barsWidth / longest(r, lines)
	for i, algorithm := range algorithms() {
		drawPanel(b, r, lines, algorithm, headHeight+i*panel, scale)
	}
	b.WriteString("</svg>\n")
}

func drawPanel(b *bytes.Buffer, r results, lines []row, algorithm string, top int, scale float64) {
	const left = margin + labelWidth
	text(b, margin, top+18, "head", algorithm)
	first := top + panelHead
	guide := ""
	for i, w := range lines {
		y := first + i*rowHeight
		class := [...]string{peer: "bar-peer", ours: "bar-ours", raw: "bar-raw"}[w.kind]
		emphasis := ""
		if w.kind == ours {
			emphasis = " strong"
		}
		text(b, left-10, y+13, "label"+emphasis, w.label)
		ns, ok := w.time(r, algorithm)
		if !ok {
			text(b, left+6, y+13, "note", "not supported")
			continue
		}
		width := max(ns*scale, 1.5)
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n", class, left, y, width, barHeight)
		text(b, left+width+8, y+13, "value"+emphasis, value(r, w, algorithm, ns))
		if w.kind == raw {
			guide = fmt.Sprintf(`<path class="guide" d="M%.1f %dV%d"/>`+"\n", left+width, y, first+len(lines)*rowHeight)
		}
	}
	b.WriteString(guide) // over the bars
}

// value is what stands at the end of a bar.
func value(r results, w row, algorithm string, ns float64) string {
	if share, ok := r.figure(w.benchmark+"/"+algorithm, w.name+"-%-of-raw"); ok {
		return fmt.Sprintf("%s, %+.0f %%", duration(ns), share-100)
	}
	return duration(ns)
}

func longest(r results, lines []row) float64 {
	most := 1.0
	for _, algorithm := range algorithms() {
		for _, w := range lines {
			ns, _ := w.time(r, algorithm)
			most = max(most, ns)
		}
	}
	return most
}

// describe says in words what the chart shows, for those who cannot see it.
func describe(r results, lines []row) string {
	var b bytes.Buffer
	for i, algorithm := range algorithms() {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(algorithm + ":")
		for j, w := range lines {
			separator := ";"
			if j == 0 {
				separator = ""
			}
			if ns, ok := w.time(r, algorithm); ok {
				fmt.Fprintf(&b, "%s %s %s", separator, w.label, duration(ns))
			}
		}
		b.WriteString(".")
	}
	return b.String()
}

func text[T int | float64](b *bytes.Buffer, x T, y int, class, content string) {
	fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%d">%s</text>`+"\n", class, float64(x), y, escape(content))
}

func escape(content string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(content)) // a buffer takes everything
	return b.String()
}
