package s4t

import "time"

// MaxHours bounds the text of hours, in bytes.
const MaxHours = 1024

// Profile is what the owner of a board gives of it to others. It is set on the
// board, and cannot be changed from the cloud. An empty field is no limit.
type Profile struct {
	CPU       string `json:"cpu,omitempty"`       // per cent of one processor: "25%", "150%"
	Memory    string `json:"memory,omitempty"`    // bytes, with K, M or G of 1024: "64M"
	Disk      string `json:"disk,omitempty"`      // bytes, as memory
	Bandwidth string `json:"bandwidth,omitempty"` // bits a second, each way, with K, M or G of 1000: "10M"
	Hours     string `json:"hours,omitempty"`     // when others may use it: "Mon-Fri 18:00-08:00, Sat-Sun"
	Zone      string `json:"zone,omitempty"`      // of Hours, IANA name; default is the board's
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
	Since         time.Time `json:"since"`
	CPUSeconds    float64   `json:"cpu_seconds"`
	MemoryHours   float64   `json:"memory_byte_hours"`
	BytesReceived int64     `json:"bytes_received"` // by the board, over ports and streams
	BytesSent     int64     `json:"bytes_sent"`
	Samples       int64     `json:"samples"`
	Commands      int64     `json:"commands"`
}
