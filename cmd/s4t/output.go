package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/stack4things/s4t"
)

// formats of -o.
var formats = []string{"table", "json", "yaml", "name"}

// column of a table. Cells may say things that a board has sent: they are
// printed as [oneLine] makes them.
type column[T any] struct {
	head string
	cell func(T) string
}

// printList prints a list in the format asked for. name is what -o name shows.
func printList[T any](a *app, items []T, name func(T) string, columns ...column[T]) error {
	if items == nil {
		items = []T{}
	}
	switch a.format {
	case "json", "yaml":
		return a.printData(items)
	case "name":
		for _, it := range items {
			fmt.Fprintln(a.stdout, oneLine(name(it)))
		}
		return nil
	}
	rows := make([][]string, 0, len(items)+1)
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.head
	}
	rows = append(rows, head)
	for _, it := range items {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = c.cell(it)
		}
		rows = append(rows, row)
	}
	a.printTable(rows)
	return nil
}

// field of one object, for its table form; one without a value is left out.
type field struct{ label, value string }

// printOne prints an object in the format asked for.
func (a *app) printOne(v any, name string, fields ...field) error {
	switch a.format {
	case "json", "yaml":
		return a.printData(v)
	case "name":
		_, err := fmt.Fprintln(a.stdout, oneLine(name))
		return err
	}
	var rows [][]string
	for _, f := range fields {
		if f.value != "" {
			rows = append(rows, []string{f.label, f.value})
		}
	}
	a.printTable(rows)
	return nil
}

// printGone prints an object that was deleted: as JSON and YAML what it was.
func (a *app) printGone(v any, noun, name string) error {
	if a.format != "table" {
		return a.printOne(v, name)
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s is gone.\n", noun, oneLine(name))
	return err
}

// printData prints v as JSON or YAML, with the fields in the API's order.
func (a *app) printData(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return s4t.Errorf(s4t.Internal, "print the answer", "", "%w", err)
	}
	text := s4t.PlainJSON(b.Bytes())
	if a.format == "yaml" {
		// JSON is YAML; read as nodes it keeps the order.
		var n yaml.Node
		if err := yaml.Unmarshal(plainYAML(b.Bytes()), &n); err != nil {
			return s4t.Errorf(s4t.Internal, "print the answer", "", "%w", err)
		}
		plain(&n)
		b.Reset()
		y := yaml.NewEncoder(&b)
		y.SetIndent(2)
		if err := y.Encode(&n); err != nil {
			return s4t.Errorf(s4t.Internal, "print the answer", "", "%w", err)
		}
		text = plainYAML(b.Bytes())
	}
	_, err := a.stdout.Write(text)
	return err
}

// plainYAML is YAML in which what does not print is escaped (section 5.7): it
// stands in double quotes.
func plainYAML(text []byte) []byte {
	return s4t.EscapeUnprinted(text, func(r rune) string { return fmt.Sprintf(`\U%08x`, r) })
}

// plain gives nodes that were JSON the looks of YAML.
func plain(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode || len(n.Content) > 0 {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, func(r rune) bool { return !s4t.Prints(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// printTable aligns columns, two spaces apart, with no space at line ends.
func (a *app) printTable(rows [][]string) {
	colour := a.colour()
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			line.WriteString(paint(cell, colour) + pad)
		}
		io.WriteString(a.stdout, strings.TrimRight(line.String(), " ")+"\n")
	}
}

// colour reports whether standard output wants it (https://no-color.org).
func (a *app) colour() bool {
	return a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && isTerminal(a.stdout)
}

// paint colours words that are a status.
func paint(cell string, colour bool) string {
	if !colour {
		return cell
	}
	code := ""
	switch cell {
	case "online", "up", "succeeded", "ok":
		code = "32"
	case "offline", "down", "failed", "error":
		code = "31"
	case "degraded", "pending", "running", "warning":
		code = "33"
	}
	if code == "" {
		return cell
	}
	return "\x1b[" + code + "m" + cell + "\x1b[0m"
}

// ago says a time as people do: "3m ago", "in 2h".
func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := now.Sub(t)
	form := "%s ago"
	if d < 0 {
		d, form = (-d).Round(time.Second), "in %s"
	}
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf(form, fmt.Sprintf("%ds", int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf(form, fmt.Sprintf("%dm", int(d.Minutes())))
	case d < 48*time.Hour:
		return fmt.Sprintf(form, fmt.Sprintf("%dh", int(d.Hours())))
	}
	return fmt.Sprintf(form, fmt.Sprintf("%dd", int(d.Hours()/24)))
}

// since is ago for a time that may be missing.
func since(t *time.Time) string {
	if t == nil {
		return ""
	}
	return ago(*t, time.Now())
}

// millis says a duration in milliseconds as people do.
func millis(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}
