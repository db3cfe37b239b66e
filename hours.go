package s4t

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// MaxHours bounds the text of hours, in bytes, and maxWindows what it names.
const (
	MaxHours   = 1024
	maxWindows = 64
)

// Hours are windows of time that come back each week. The zero value is always.
type Hours struct {
	zone    *time.Location
	windows []window
}

// window is one of a day: minutes of its clock from midnight. One that ends on the
// next day has an end after 24 h.
type window struct {
	day      time.Weekday
	from, to int
}

const dayMinutes = 24 * 60

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseHours reads hours, by the clock of zone: entries with commas between them,
// each of days (Mon, Sat-Sun; none: every day) and times (18:00-08:00; none: all
// day), several with spaces between them: "Mon-Fri 18:00-08:00, Sat-Sun". A time
// that ends before it begins goes on into the next day. Empty is always.
//
// A time that the clock skips, where summer time begins, is what it would have been
// without; one that it shows twice is the first.
func ParseHours(text string, zone *time.Location) (Hours, error) {
	h := Hours{zone: zone}
	if strings.TrimSpace(text) == "" && len(text) <= MaxHours {
		return h, nil
	}
	bad := func(format string, args ...any) (Hours, error) {
		return Hours{}, Errorf(Invalid, "read the hours of a profile", `write "Mon-Fri 18:00-08:00, Sat-Sun"`, format, args...)
	}
	if len(text) > MaxHours {
		return bad("they have %d bytes, at most %d are possible", len(text), MaxHours)
	}
	for entry := range strings.SplitSeq(text, ",") {
		var days []time.Weekday
		var times [][2]int
		for word := range strings.FieldsSeq(entry) {
			if strings.Contains(word, ":") {
				from, to, ok := parseTimes(word)
				if !ok {
					return bad("%q is no time of a day", Line(word, MaxName))
				}
				times = append(times, [2]int{from, to})
				continue
			}
			some, ok := parseDays(word)
			if !ok {
				return bad("%q is no day", Line(word, MaxName))
			}
			days = append(days, some...)
		}
		if len(days) == 0 && len(times) == 0 {
			return bad("there is nothing between two commas")
		}
		if len(days) == 0 {
			days = []time.Weekday{0, 1, 2, 3, 4, 5, 6}
		}
		if len(times) == 0 {
			times = [][2]int{{0, dayMinutes}}
		}
		for _, day := range days {
			for _, t := range times {
				h.windows = append(h.windows, window{day, t[0], t[1]})
			}
		}
		if len(h.windows) > maxWindows {
			return bad("they name more than %d windows a week", maxWindows)
		}
	}
	return h, nil
}

// parseDays reads "Mon" or "Mon-Fri"; "Sat-Mon" goes over the end of the week.
func parseDays(word string) (days []time.Weekday, ok bool) {
	first, last, ranged := strings.Cut(strings.ToLower(word), "-")
	if !ranged {
		last = first
	}
	from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
	if from < 0 || to < 0 {
		return nil, false
	}
	for d := from; ; d = (d + 1) % 7 {
		days = append(days, time.Weekday(d))
		if d == to {
			return days, true
		}
	}
}

// parseTimes reads "18:00-08:00"; the day may end at 24:00.
func parseTimes(word string) (from, to int, ok bool) {
	first, last, ok := strings.Cut(word, "-")
	if !ok {
		return 0, 0, false
	}
	from, begins := parseClock(first)
	to, ends := parseClock(last)
	if !begins || !ends || from == to || from == dayMinutes {
		return 0, 0, false
	}
	if to < from {
		to += dayMinutes
	}
	return from, to, true
}

// parseClock reads "08:00" as minutes from midnight.
func parseClock(text string) (minutes int, ok bool) {
	if len(text) != 5 || text[2] != ':' || !plain(text[:2]+text[3:], "") {
		return 0, false
	}
	h, m := int(text[0]-'0')*10+int(text[1]-'0'), int(text[3]-'0')*10+int(text[4]-'0')
	minutes = h*60 + m
	return minutes, m < 60 && minutes <= dayMinutes
}

// At reports whether a time is within the hours, and when that changes next: the
// zero time where it never does.
func (h Hours) At(t time.Time) (open bool, changes time.Time) {
	if len(h.windows) == 0 {
		return true, time.Time{}
	}
	for _, s := range h.spans(t) {
		switch {
		case !s.end.After(t):
		case s.start.After(t):
			return false, s.start
		case s.end.Sub(t) > 8*24*time.Hour: // the whole week, and so every week
			return true, time.Time{}
		default:
			return true, s.end
		}
	}
	return false, time.Time{}
}

// span is a window of one day, as instants.
type span struct{ start, end time.Time }

// spans are those from two days before a time to ten days after it, in order; those
// that touch are one.
func (h Hours) spans(t time.Time) []span {
	var all []span
	year, month, today := t.In(h.zone).Date()
	for d := today - 2; d <= today+10; d++ {
		day := time.Date(year, month, d, 12, 0, 0, 0, time.UTC).Weekday()
		for _, w := range h.windows {
			if w.day != day {
				continue
			}
			s := span{h.instant(year, month, d, w.from), h.instant(year, month, d, w.to)}
			if s.start.Before(s.end) {
				all = append(all, s)
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].start.Before(all[j].start) })
	merged := all[:0]
	for _, s := range all {
		if last := len(merged) - 1; last >= 0 && !s.start.After(merged[last].end) {
			if s.end.After(merged[last].end) {
				merged[last].end = s.end
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// instant is when the clock shows a minute of a day: the first time, where it does
// so twice.
func (h Hours) instant(year int, month time.Month, day, minute int) time.Time {
	t := time.Date(year, month, day, 0, minute, 0, 0, h.zone)
	for _, back := range []time.Duration{30 * time.Minute, time.Hour} { // by what clocks are put back
		if e := t.Add(-back); e.Hour() == t.Hour() && e.Minute() == t.Minute() {
			return e
		}
	}
	return t
}
