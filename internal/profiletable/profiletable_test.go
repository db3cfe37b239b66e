package profiletable

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

func TestAProfileIsReadable(t *testing.T) {
	p := s4t.BoardProfile{
		Profile:  s4t.Profile{CPU: "25%", Hours: "Sat-Sun", Zone: "Europe/Rome"},
		Enforced: map[string]string{"cpu": "cgroup v2", "user": "own user", "bandwidth": "pacing"},
	}
	want := "WHAT|GIVEN|ENFORCED BY\ncpu|25%|cgroup v2\nmemory|no limit|-\ndisk|no limit|-\nbandwidth|no limit|pacing\nhours|Sat-Sun Europe/Rome|lightning-rod\nuser||own user"
	if got := text(Limits(p)); got != want {
		t.Errorf("%s", got)
	}
	if p.Enforced["cpu"] == "" {
		t.Error("the profile was changed")
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	then := at.Local().Format(time.DateTime)
	for want, p := range map[string]s4t.BoardProfile{
		"open":                       {Open: true},
		"open until " + then:         {Open: true, ChangesAt: &at},
		"open, closes at " + then:    {Open: true, ChangesAt: &at, Closing: &at},
		"closed until " + then:       {ChangesAt: &at},
		"closed: the board does not": {},
	} {
		if got := Now(p); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if Usage(nil) != nil {
		t.Error("nothing that was used has a table")
	}
	got := text(Usage([]s4t.Usage{
		{Project: "b33346cf-0576-4227-898e-c376fb68b503", Since: at, CPUSeconds: 12.34, MemoryHours: 64e6, BytesReceived: 1234567, BytesSent: 3, Samples: 12, Commands: 7},
		{Project: "x", ProjectName: "lab", Since: at, CPUSeconds: 3723.6, BytesSent: -1}, {Since: at, CPUSeconds: -1},
	})[1:])
	want = fmt.Sprintf("project b33346cf|%[1]s|12.3s|64 MB h|1.2 MB|3 B|12|7\nlab|%[1]s|1h2m4s|0 B h|0 B|0 B|0|0\nthe board's own project|%[1]s|0.0s|0 B h|0 B|0 B|0|0", then)
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func text(rows [][]string) string {
	var lines []string
	for _, r := range rows {
		lines = append(lines, strings.Join(r, "|"))
	}
	return strings.Join(lines, "\n")
}
