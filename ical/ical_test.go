package ical

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// calendar has what is hard to write.
var calendar = Calendar{Name: "kitchen, 2; \\ floor", Refresh: 15 * time.Minute, Events: []Event{
	{UID: "a@s4t", Sequence: 3, Stamp: at(0), From: at(1), Until: at(3), Summary: "night; lab, ☕ " + strings.Repeat("éß", 60), Description: "boards: one\r\ntwo\n\x00\x07three \\n"},
	{UID: "b@s4t", Stamp: at(0), From: at(4), Until: at(5).In(time.FixedZone("x", 5*3600)), Summary: "Booked"},
}}

func at(hours int) time.Time { return time.Date(2026, 12, 24, 18+hours, 0, 0, 0, time.UTC) }

func TestCalendarsAreEncoded(t *testing.T) {
	text := Encode(calendar)
	if !strings.HasSuffix(text, "END:VCALENDAR\r\n") {
		t.Errorf("it ends with %q", text[max(0, len(text)-30):])
	}
	for _, line := range strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		if len(line) > 75 || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
	whole := strings.ReplaceAll(text, "\r\n ", "")
	for _, want := range []string{
		`NAME:kitchen\, 2\; \\ floor`, "DTSTART:20261224T190000Z", "DTEND:20261224T230000Z", "SEQUENCE:3", "UID:a@s4t", "REFRESH-INTERVAL;VALUE=DURATION:PT900S",
		`SUMMARY:night\; lab\, ☕ ` + strings.Repeat("éß", 60), `DESCRIPTION:boards: one\ntwo\nthree \\n`,
	} {
		if !strings.Contains(whole, want+"\r\n") {
			t.Errorf("there is no line %q in\n%s", want, whole)
		}
	}
}

// TestKhalReadsACalendar: a client that people use reads what is written.
func TestKhalReadsACalendar(t *testing.T) {
	khal, err := exec.LookPath("khal")
	if err != nil {
		if os.Getenv("S4T_NO_SKIPS") != "" {
			t.Fatal("khal is not installed: `scripts/deps test`")
		}
		t.Skip("khal is not installed: `scripts/deps test`")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	text := "[calendars]\n[[it]]\npath = " + dir + "/it\ntype = calendar\n[locale]\nlocal_timezone = UTC\ndefault_timezone = UTC\ntimeformat = %H:%M\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\ndatetimeformat = %Y-%m-%d %H:%M\nlongdatetimeformat = %Y-%m-%d %H:%M\n[sqlite]\npath = " + dir + "/cache.db\n"
	feed := filepath.Join(dir, "feed.ics")
	for name, text := range map[string]string{config: text, feed: Encode(calendar)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		cmd := exec.Command(khal, append([]string{"-c", config}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CACHE_HOME="+dir, "LC_ALL=C.UTF-8")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("khal %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if err := os.Mkdir(filepath.Join(dir, "it"), 0o700); err != nil {
		t.Fatal(err)
	}
	run("import", "--batch", "-a", "it", feed)
	out := run("list", "--format", "{start-date} {start-time} {end-time} {title}|{description}|", "2026-12-24", "2d")
	for _, want := range []string{"2026-12-24 19:00 21:00 night; lab, ☕ " + strings.Repeat("éß", 60), "22:00 23:00 Booked", "boards: one\ntwo\nthree"} {
		if !strings.Contains(out, want) {
			t.Errorf("khal does not show %q:\n%s", want, out)
		}
	}
}
