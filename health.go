package s4t

import (
	"math"
	"time"
)

// Health is how a board is, as it says itself. What it cannot tell is 0, the
// temperature absent.
type Health struct {
	Load1       float64  `json:"load1"`                 // processes that run or want to, over a minute (proc(5), loadavg)
	MemoryUsed  int64    `json:"memory_used"`           // bytes that are not available to new processes
	MemoryTotal int64    `json:"memory_total"`          // bytes
	DiskUsed    int64    `json:"disk_used"`             // bytes, of the file system of lightning-rod's state
	DiskTotal   int64    `json:"disk_total"`            // bytes
	Temperature *float64 `json:"temperature,omitempty"` // degC, of the hottest thermal zone

	ReceivedBytes int64   `json:"received_bytes"` // since the board booted, by all interfaces but lo
	SentBytes     int64   `json:"sent_bytes"`     // the same
	ReceivedRate  float64 `json:"received_rate"`  // bytes a second since the report before
	SentRate      float64 `json:"sent_rate"`      // the same

	Uptime      int64  `json:"uptime"`       // seconds since the board booted
	AgentUptime int64  `json:"agent_uptime"` // seconds since its lightning-rod started
	Version     string `json:"version,omitempty"`
	Kernel      string `json:"kernel,omitempty"` // uname -r
	System      string `json:"system,omitempty"` // PRETTY_NAME of os-release(5)
}

// How a board's health is reported and kept.
const (
	HealthInterval = time.Minute     // a board looks so often, and tells what has changed
	HealthStep     = 5 * time.Minute // from one point of the history to the next
	HealthHold     = 12 * time.Hour  // after which a board tells again how it is, though that is as it was
	HealthPoints   = 288             // of the history: 24 h
)

// Clamp brings what a board says within the bounds of what can be: numbers that
// are finite and not negative, no more used than there is, lines of at most 255 bytes.
func (h Health) Clamp() Health {
	for _, n := range []*int64{&h.MemoryUsed, &h.MemoryTotal, &h.DiskUsed, &h.DiskTotal, &h.ReceivedBytes, &h.SentBytes, &h.Uptime, &h.AgentUptime} {
		*n = max(*n, 0)
	}
	h.MemoryUsed, h.DiskUsed = min(h.MemoryUsed, h.MemoryTotal), min(h.DiskUsed, h.DiskTotal)
	h.Uptime, h.AgentUptime = min(h.Uptime, maxUptime), min(h.AgentUptime, maxUptime)
	for _, f := range []struct {
		value *float64
		most  float64
	}{{&h.Load1, 1e6}, {&h.ReceivedRate, 1e12}, {&h.SentRate, 1e12}} {
		if !(*f.value >= 0) { // NaN is not
			*f.value = 0
		}
		*f.value = min(*f.value, f.most)
	}
	if t := h.Temperature; t != nil && !(math.Abs(*t) <= 1000) {
		h.Temperature = nil
	}
	h.Version, h.Kernel, h.System = Line(h.Version, 255), Line(h.Kernel, 255), Line(h.System, 255)
	return h
}

// Changes that [Health.Differs] tells: what people look at.
const (
	loadStep        = 0.2
	rateStep        = 2048 // bytes a second
	temperatureStep = 2    // degC
	usePart         = 50   // of memory and disk: a fiftieth
	movedStep       = 16 << 20
)

// Differs reports whether h is worth telling, and writing, after an earlier report. Both ends
// ask: a board that says nothing is as it said last, but for less than this.
func (h Health) Differs(was Health) bool {
	switch {
	case h.Version != was.Version, h.Kernel != was.Kernel, h.System != was.System, h.Uptime < was.Uptime, h.AgentUptime < was.AgentUptime,
		h.MemoryTotal != was.MemoryTotal, h.DiskTotal != was.DiskTotal:
		return true
	case (h.Temperature == nil) != (was.Temperature == nil), h.Temperature != nil && math.Abs(*h.Temperature-*was.Temperature) >= temperatureStep:
		return true
	case h.ReceivedBytes < was.ReceivedBytes, h.SentBytes < was.SentBytes, h.ReceivedBytes-was.ReceivedBytes >= movedStep, h.SentBytes-was.SentBytes >= movedStep:
		return true
	}
	return other(was.Load1, h.Load1, loadStep) || other(was.ReceivedRate, h.ReceivedRate, rateStep) || other(was.SentRate, h.SentRate, rateStep) ||
		math.Abs(float64(h.MemoryUsed-was.MemoryUsed)) > float64(h.MemoryTotal)/usePart || math.Abs(float64(h.DiskUsed-was.DiskUsed)) > float64(h.DiskTotal)/usePart
}

// other reports whether two measurements differ by a step, and by a quarter of the
// larger.
func other(a, b, step float64) bool {
	d := math.Abs(a - b)
	return d >= step && d >= max(a, b)/4
}

// After is what a report says some time later of a board that had a session all the while and
// did not tell otherwise, and as of when.
func (h Health) After(at, now time.Time) (Health, time.Time) {
	passed := now.Sub(at)
	if passed <= 0 || passed > HealthHold+HealthStep {
		return h, at
	}
	for _, up := range []*int64{&h.Uptime, &h.AgentUptime} {
		if *up > 0 {
			*up += int64(passed / time.Second)
		}
	}
	if looked := now.Add(-HealthInterval); looked.After(at) {
		at = looked
	}
	return h, at
}

// maxUptime is a hundred years, in seconds.
const maxUptime = 100 * 366 * 24 * 60 * 60

// HealthHistory is a board's health over the last 24 hours: HealthPoints points,
// oldest first, of which the last is that of now. A point of a time in which the board
// was away is null. A point is the first report in its five minutes, or the one before where the
// board, which had a session, said nothing else (see [Health.Differs]); numbers are kept with three digits.
type HealthHistory struct {
	From         time.Time  `json:"from"` // of the first point
	StepSeconds  int        `json:"step_seconds"`
	Load1        []*float64 `json:"load1"`
	MemoryUsed   []*float64 `json:"memory_used"`   // bytes
	DiskUsed     []*float64 `json:"disk_used"`     // bytes
	Temperature  []*float64 `json:"temperature"`   // degC
	ReceivedRate []*float64 `json:"received_rate"` // bytes a second
	SentRate     []*float64 `json:"sent_rate"`     // bytes a second
}

// OutageReason says why a board was away.
type OutageReason string

// Reasons of outages.
const (
	OutageUnknown OutageReason = "unknown" // it is not back yet, and nothing is known of why
	OutagePower   OutageReason = "power"   // the board booted meanwhile
	OutageAgent   OutageReason = "agent"   // its lightning-rod was started anew meanwhile
	OutageCloud   OutageReason = "cloud"   // the WAMP agent that had its session ended, or was silent
	OutageLink    OutageReason = "link"    // none of these: what is between the board and the cloud
)

// Outage is a time in which a board was enrolled and had no session.
type Outage struct {
	Began  time.Time    `json:"began"`
	Ended  *time.Time   `json:"ended,omitempty"` // absent: it lasts
	Reason OutageReason `json:"reason"`
	Likely bool         `json:"likely,omitempty"` // the reason is a guess: the board is still away
	Detail string       `json:"detail,omitempty"`
}

// How many outages of a board are kept, and for how long.
const (
	MaxOutages   = 200 // newest
	OutageWindow = 30 * 24 * time.Hour
)

// BoardHealth is how a board is, and was.
type BoardHealth struct {
	Board   string      `json:"board"`
	BoardID BoardID     `json:"board_id"`
	Status  BoardStatus `json:"status"`

	At      *time.Time     `json:"at,omitempty"`     // of Health
	Health  *Health        `json:"health,omitempty"` // as the board said it last; absent: it never did
	History *HealthHistory `json:"history,omitempty"`

	Outages []Outage `json:"outages"` // the 20 newest, newest first

	// Availability is which part of the last 30 days the board had a session, from 0
	// to 1: since it first had one, or as far back as outages are kept. Absent: it
	// never had one.
	Availability *float64 `json:"availability_30d,omitempty"`
}
