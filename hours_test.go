package s4t

import (
	"strings"
	"testing"
	"time"
)

func rome(t testing.TB) *time.Location {
	zone, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestHours(t *testing.T) {
	const form = "2006-01-02 15:04 MST"
	for _, c := range []struct {
		name, hours, at string // by the clock of Rome
		open            bool
		changes         string
	}{
		{"no hours: always", "", "2026-01-05 12:00 CET", true, ""},
		{"a Monday before its window", "Mon-Fri 18:00-08:00", "2026-01-05 12:00 CET", false, "2026-01-05 18:00 CET"},
		{"the minute it begins", "Mon-Fri 18:00-08:00", "2026-01-05 18:00 CET", true, "2026-01-06 08:00 CET"},
		{"after midnight", "Mon-Fri 18:00-08:00", "2026-01-06 07:59 CET", true, "2026-01-06 08:00 CET"},
		{"the minute it ends", "Mon-Fri 18:00-08:00", "2026-01-06 08:00 CET", false, "2026-01-06 18:00 CET"},
		{"Friday's window on Saturday", "Mon-Fri 18:00-08:00", "2026-01-10 07:00 CET", true, "2026-01-10 08:00 CET"},
		{"Monday's early hours are Sunday's", "Mon-Fri 18:00-08:00", "2026-01-05 07:00 CET", false, "2026-01-05 18:00 CET"},
		{"with the weekend", "Mon-Fri 18:00-08:00, Sat-Sun", "2026-01-10 12:00 CET", true, "2026-01-12 00:00 CET"},
		{"that touch are one", "Fri 20:00-24:00, Sat", "2026-01-09 21:00 CET", true, "2026-01-11 00:00 CET"},
		{"every day", "08:00-10:00 18:00-20:00", "2026-01-09 11:00 CET", false, "2026-01-09 18:00 CET"},
		{"all days, that is always", "Mon-Sun", "2026-01-09 11:00 CET", true, ""},
		{"over the end of the week", "sat-mon", "2026-01-05 11:00 CET", true, "2026-01-06 00:00 CET"},
		{"once a week", "Wed 10:00-10:01", "2026-01-07 10:01 CET", false, "2026-01-14 10:00 CET"},
		{"a night that is an hour short", "Sat 22:00-06:00", "2026-03-28 23:00 CET", true, "2026-03-29 06:00 CEST"},
		{"a night that is an hour long", "Sat 22:00-06:00", "2026-10-24 23:00 CEST", true, "2026-10-25 06:00 CET"},
		{"begins in the hour that is skipped", "Sun 02:30-04:00", "2026-03-29 01:00 CET", false, "2026-03-29 03:30 CEST"},
		{"is in the hour that is skipped", "Sun 02:15-02:45", "2026-03-29 01:00 CET", false, "2026-03-29 03:15 CEST"},
		{"begins in the hour that comes twice", "Sun 02:30-04:00", "2026-10-25 01:00 CEST", false, "2026-10-25 02:30 CEST"},
		{"the second of it", "Sun 02:30-04:00", "2026-10-25 02:10 CET", true, "2026-10-25 04:00 CET"},
	} {
		h, err := ParseHours(c.hours, rome(t))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		at, err := time.ParseInLocation(form, c.at, rome(t))
		if err != nil {
			t.Fatal(err)
		}
		open, changes := h.At(at.UTC())
		says := ""
		if !changes.IsZero() {
			says = changes.In(rome(t)).Format(form)
		}
		if open != c.open || says != c.changes {
			t.Errorf("%s: %q at %s: %v until %s, want %v until %s", c.name, c.hours, c.at, open, says, c.open, c.changes)
		}
	}
	for _, bad := range []string{"Mon-Fri 18:00", "Fun", "18:00-18:00", "24:00-08:00", "25:00-26:00", "8:00-9:00", "Mon,", ",", "Mon-Fri-Sat", "18:60-19:00", strings.Repeat("Mon-Sun 10:00-11:00,", 10) + "Mon", strings.Repeat(" ", MaxHours+1)} {
		if _, err := ParseHours(bad, time.UTC); KindOf(err) != Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzProfile(f *testing.F) {
	for _, c := range [][5]string{
		{"25%", "64M", "10M", "Mon-Fri 18:00-08:00, Sat-Sun", "Europe/Rome"}, {"0.25", "1", "8K", "08:00-24:00", ""}, {"1e5", "9223372036854775807T", "-1", "sun-sat", "../x"},
		{"NaN%", "K", "0x10", "Mon 00:00-24:00", "Local"},
	} {
		f.Add(c[0], c[1], c[2], c[3], c[4])
	}
	zone := rome(f)
	at := time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, cpu, size, bandwidth, hours, place string) {
		p := Profile{CPU: cpu, Memory: size, Disk: size, Bandwidth: bandwidth, Hours: hours, Zone: place}
		if err := p.Check(); err != nil && KindOf(err) != Invalid {
			t.Fatalf("%+v: %v", p, err)
		}
		if v, err := ParseCPU(cpu); err == nil && cpu != "" && !(v >= minCPU && v <= maxCPU) {
			t.Fatalf("%q is %v", cpu, v)
		}
		if n, err := ParseSize(size); err == nil {
			if back, err := ParseSize(formatSize(n)); size != "" && (n <= 0 || back != n || err != nil) {
				t.Fatalf("%q is %d, %q", size, n, formatSize(n))
			}
		}
		h, err := ParseHours(hours, zone)
		if err != nil {
			return
		}
		open, changes := h.At(at)
		if changes.IsZero() {
			return
		}
		if !changes.After(at) || changes.Sub(at) > 9*24*time.Hour {
			t.Fatalf("%q changes at %v", hours, changes)
		}
		if then, _ := h.At(changes); then == open {
			t.Fatalf("%q: nothing changes at %v", hours, changes)
		}
		if before, same := h.At(changes.Add(-1)); before != open || !same.Equal(changes) {
			t.Fatalf("%q: before %v it is %v until %v", hours, changes, before, same)
		}
	})
}
