// Package ical writes calendars that other programs subscribe to (RFC 5545).
package ical

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Calendar is what is published.
type Calendar struct {
	Name    string
	Refresh time.Duration // how often who subscribes may look; at least a second
	Events  []Event
}

// Event is one of its events. Times are instants, and are written in UTC.
type Event struct {
	UID         string // the same for the same event, at every time
	Sequence    int64  // grows with each change of it
	Stamp       time.Time
	From, Until time.Time
	Summary     string
	Description string
}

// Encode writes a calendar.
func Encode(c Calendar) string {
	var b strings.Builder
	line := func(name, value string) { fold(&b, name+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//Stack4Things//s4t//EN")
	line("CALSCALE", "GREGORIAN")
	line("NAME", escape(c.Name)) // RFC 7986
	line("X-WR-CALNAME", escape(c.Name))
	refresh := "PT" + strconv.Itoa(int(max(c.Refresh, time.Second)/time.Second)) + "S"
	line("REFRESH-INTERVAL;VALUE=DURATION", refresh)
	line("X-PUBLISHED-TTL", refresh)
	for _, e := range c.Events {
		line("BEGIN", "VEVENT")
		line("UID", escape(e.UID))
		line("DTSTAMP", instant(e.Stamp))
		line("SEQUENCE", strconv.FormatInt(e.Sequence, 10))
		line("DTSTART", instant(e.From))
		line("DTEND", instant(e.Until))
		line("SUMMARY", escape(e.Summary))
		if e.Description != "" {
			line("DESCRIPTION", escape(e.Description))
		}
		line("TRANSP", "OPAQUE")
		line("STATUS", "CONFIRMED")
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
	return b.String()
}

// instant is a time in UTC (3.3.5, form 2).
func instant(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// escape makes a TEXT of a text (3.3.11). Other control characters cannot be said, and go.
func escape(text string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(text, "\r\n", "\n") {
		switch {
		case r == '\\' || r == ';' || r == ',':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < ' ' && r != '\t' || r == 0x7f:
		default:
			b.WriteRune(r) // what is no UTF-8 is U+FFFD by now
		}
	}
	return b.String()
}

// maxOctets is how long a line is at most, without its end (3.1).
const maxOctets = 75

// fold writes a line, in as many as it takes, no character in two of them.
func fold(b *strings.Builder, line string) {
	room := maxOctets
	for len(line) > room {
		n := room
		for !utf8.RuneStart(line[n]) {
			n--
		}
		b.WriteString(line[:n])
		b.WriteString("\r\n ")
		line, room = line[n:], maxOctets-1
	}
	b.WriteString(line)
	b.WriteString("\r\n")
}
