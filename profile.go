package s4t

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Profile is what the owner of a board gives of it to others. It is set on the
// board, and cannot be changed from the cloud. An empty field is no limit.
type Profile struct {
	CPU       string `json:"cpu,omitempty"`       // per cent of one processor: "25%", "150%"
	Memory    string `json:"memory,omitempty"`    // bytes, with K, M or G of 1024: "64M"
	Disk      string `json:"disk,omitempty"`      // bytes, as memory
	Bandwidth string `json:"bandwidth,omitempty"` // bits a second, each way, with K, M or G of 1000: "10M"
	Hours     string `json:"hours,omitempty"`     // when others may use it: "Mon-Fri 18:00-08:00, Sat-Sun"
	Zone      string `json:"zone,omitempty"`      // of Hours, IANA name; default is the board's
	Notice    string `json:"notice,omitempty"`    // between the word that it closes and the close: "60s", the default
}

// BoardProfile is a profile with what comes of it.
type BoardProfile struct {
	Profile
	Open       bool              `json:"open"`                 // others may use the board now
	Closing    *time.Time        `json:"closing_at,omitempty"` // notice is given: it closes then
	ChangesAt  *time.Time        `json:"changes_at,omitempty"` // it opens or closes next
	Enforced   map[string]string `json:"enforced"`             // cpu, memory, disk, bandwidth, processes, network, files: by what ("cgroup v2", "cgroup v1", "rlimit", "pacing", ...), or "no: " and why not
	Usage      []Usage           `json:"usage"`                // by project
	ReportedAt *time.Time        `json:"reported_at,omitempty"`
}

// Usage is what a project has used of a board since Since.
type Usage struct {
	Project       ProjectID `json:"project"`
	ProjectName   string    `json:"project_name,omitempty"` // of one that the caller sees; the cloud's word
	Since         time.Time `json:"since"`
	CPUSeconds    float64   `json:"cpu_seconds"`
	MemoryHours   float64   `json:"memory_byte_hours"`
	BytesReceived int64     `json:"bytes_received"` // by the board, over ports and streams
	BytesSent     int64     `json:"bytes_sent"`
	Samples       int64     `json:"samples"`
	Commands      int64     `json:"commands"`
}

// Bounds of a profile. Less cannot be enforced, or nothing works with it.
const (
	minCPU        = 0.01 // processors: the kernel counts a millisecond of each tenth of a second
	maxCPU        = 4096 //
	defaultNotice = time.Minute
	maxNotice     = time.Hour
	minMemory     = 1 << 20 // bytes
	minBandwidth  = 64_000  // bits a second: a message of a stream has up to 128 KiB
)

// Check checks every field.
func (p Profile) Check() error {
	if _, err := ParseCPU(p.CPU); err != nil {
		return err
	}
	for _, text := range []string{p.Memory, p.Disk} {
		if n, err := ParseSize(text); err != nil {
			return err
		} else if text != "" && n < minMemory {
			return Errorf(Invalid, "read a profile", "give 1M or more, or none", "%q is too little", text)
		}
	}
	if _, err := ParseBandwidth(p.Bandwidth); err != nil {
		return err
	}
	if _, err := p.NoticeTime(); err != nil {
		return err
	}
	zone, err := p.Location()
	if err == nil {
		_, err = ParseHours(p.Hours, zone)
	}
	return err
}

// NoticeTime is how long before it closes notice is given.
func (p Profile) NoticeTime() (time.Duration, error) {
	if p.Notice == "" {
		return defaultNotice, nil
	}
	d, err := time.ParseDuration(p.Notice)
	if err != nil || d < 0 || d > maxNotice {
		return 0, Errorf(Invalid, "read the notice of a profile", "give a time of at most an hour: 60s", "%q is none", Line(p.Notice, MaxName))
	}
	return d, nil
}

// Location is the time zone of the hours: the machine's own where none is named.
func (p Profile) Location() (*time.Location, error) {
	if p.Zone == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(p.Zone)
	if err != nil || len(p.Zone) > MaxName {
		return nil, Errorf(Invalid, "read the time zone of a profile", "use a name as Europe/Rome, or UTC; this machine's zones are in /usr/share/zoneinfo: install them (tzdata) where they are not", "the time zone %q is not known here", Line(p.Zone, MaxName))
	}
	return zone, nil
}

// ParseCPU reads a share of processors: "25%" and "0.25" are a quarter of one,
// "150%" is one and a half. Empty is 0: no limit.
func ParseCPU(text string) (processors float64, err error) {
	if text == "" {
		return 0, nil
	}
	number, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !plain(number, ".") || math.IsNaN(v) || v < minCPU || v > maxCPU {
		return 0, Errorf(Invalid, "read a limit of the processor", "give per cent of one processor, 1% or more: 25%, 150%; or processors: 0.25", "%q is none", Line(text, MaxName))
	}
	return v, nil
}

// ParseSize reads a number of bytes, with K, M, G or T of 1024: "64M". Empty is 0.
func ParseSize(text string) (int64, error) {
	n, ok := scaled(text, 1024)
	if !ok {
		return 0, Errorf(Invalid, "read a size", "give bytes, with K, M, G or T of 1024: 64M", "%q is none", Line(text, MaxName))
	}
	return n, nil
}

// ParseBandwidth reads bits a second, with K, M, G or T of 1000: "10M". Empty is 0:
// no limit.
func ParseBandwidth(text string) (int64, error) {
	n, ok := scaled(text, 1000)
	if !ok || text != "" && n < minBandwidth {
		return 0, Errorf(Invalid, "read a bandwidth", "give bits a second, 64K or more, with K, M, G or T of 1000: 10M", "%q is none", Line(text, MaxName))
	}
	return n, nil
}

// scaled reads a whole number that may have a letter for a power of unit.
func scaled(text string, unit int64) (n int64, ok bool) {
	if text == "" {
		return 0, true
	}
	scale := int64(1)
	if i := strings.IndexByte("KMGT", text[len(text)-1]&^0x20); i >= 0 {
		for range i + 1 {
			scale *= unit
		}
		text = text[:len(text)-1]
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n * scale, err == nil && plain(text, "") && n > 0 && n <= math.MaxInt64/scale
}

// plain reports whether text has digits only, and characters of also.
func plain(text, also string) bool {
	for _, r := range text {
		if (r < '0' || r > '9') && !strings.ContainsRune(also, r) {
			return false
		}
	}
	return text != ""
}
