package s4t

import (
	"math"
	"time"
)

// Board is a hardware-constrained unit with pins that runs lightning-rod.
type Board struct {
	ID       BoardID           `json:"id"`
	Name     string            `json:"name"`
	Project  ProjectID         `json:"project"`
	Type     string            `json:"type,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Location *Location         `json:"location,omitempty"`

	Status            BoardStatus `json:"status"`
	Epoch             int64       `json:"epoch"`              // counts the board's sessions; a report of an older epoch is stale
	Generation        int64       `json:"generation"`         // of its desired state
	AppliedGeneration int64       `json:"applied_generation"` // the last one the board said it has applied
	WAMPAgent         AgentID     `json:"wamp_agent,omitempty"`
	TunnelAgent       AgentID     `json:"tunnel_agent,omitempty"`
	Info              BoardInfo   `json:"info"`               // what the board says of itself
	Problems          []string    `json:"problems,omitempty"` // what stands in the way now, in the board's words
	LastSeen          *time.Time  `json:"last_seen,omitempty"`
	CreatedAt         time.Time   `json:"created_at"`

	Lease *LeasedBy `json:"lease,omitempty"` // by which who asks has it; absent: it is the project's

	CodeExpiresAt *time.Time `json:"code_expires_at,omitempty"` // of the code, while it is not used

	Code string `json:"code,omitempty"` // one-time registration code; only in the answer that made it
	Join string `json:"join,omitempty"` // the join string; only there
}

// BoardStatus is what the cloud knows of a board's control session.
//
//	registered --first session--> online <--> offline
type BoardStatus string

// The statuses of a board.
const (
	BoardRegistered BoardStatus = "registered" // known, never connected
	BoardOnline     BoardStatus = "online"     // has a live session
	BoardOffline    BoardStatus = "offline"    // had one
)

// Location of a board, WGS 84.
type Location struct {
	Latitude  float64 `json:"latitude"`  // degrees, -90 to 90
	Longitude float64 `json:"longitude"` // degrees, -180 to 180
	Altitude  float64 `json:"altitude"`  // metres

	Mobile bool `json:"mobile,omitempty"` // it moves: this is where it was last
}

// MaxPlaces is how many places of a board are kept, the newest.
const MaxPlaces = 100

// Place is where a board was said to be, from a time on.
type Place struct {
	Location
	Since time.Time `json:"since"`
}

// Validate checks the ranges.
func (l Location) Validate() error {
	if !(l.Latitude >= -90 && l.Latitude <= 90) || !(l.Longitude >= -180 && l.Longitude <= 180) || !(l.Altitude >= -1e5 && l.Altitude <= 1e8) {
		return Errorf(Invalid, "place a board", "use LAT,LON[,ALT] in degrees and metres", "location %v,%v,%v is out of range", l.Latitude, l.Longitude, l.Altitude)
	}
	return nil
}

// Kilometres is the distance along a great circle of a sphere: half a per cent off
// at most.
func (l Location) Kilometres(to Location) float64 {
	const radius, rad = 6371.0, math.Pi / 180
	dLat, dLon := (to.Latitude-l.Latitude)*rad/2, (to.Longitude-l.Longitude)*rad/2
	h := math.Pow(math.Sin(dLat), 2) + math.Cos(l.Latitude*rad)*math.Cos(to.Latitude*rad)*math.Pow(math.Sin(dLon), 2)
	return 2 * radius * math.Asin(math.Sqrt(min(h, 1)))
}

// BoardInfo is what a board reports about itself when it connects. Nothing in
// it is trusted for a decision about another board.
type BoardInfo struct {
	Version  string   `json:"version,omitempty"`   // of lightning-rod
	OS       string   `json:"os,omitempty"`        // GOOS
	Arch     string   `json:"arch,omitempty"`      // GOARCH
	Kernel   string   `json:"kernel,omitempty"`    // uname -r
	Hostname string   `json:"hostname,omitempty"`  //
	HostKeys []string `json:"host_keys,omitempty"` // SSH host keys, authorized_keys form: "ssh-ed25519 AAAA..."
	Networks bool     `json:"networks"`            // may create devices (root or CAP_NET_ADMIN, and /dev/net/tun)

	Resumes  bool   `json:"resumes,omitempty"`  // users' streams can be resumed
	Records  bool   `json:"records,omitempty"`  // it records terminals where its project wants that
	Terminal string `json:"terminal,omitempty"` // whose shells its owner allows as terminals; empty: none

	// PublicAddress is where the cloud sees its session come from: behind a NAT, the NAT's address.
	// It is the cloud's word, not the board's.
	PublicAddress string `json:"public_address,omitempty"`

	Routes    []string `json:"routes,omitempty"`    // networks that the board reaches by itself, CIDR; not the default route, and none of ours
	Resolvers []string `json:"resolvers,omitempty"` // its DNS servers: IP addresses
	Trusts    []string `json:"trusts,omitempty"`    // what it trusts as the cloud: SHA-256 of CA certificates' DER, hex; [SystemRoots]
}

// SystemRoots in [BoardInfo.Trusts] stands for what the board's system trusts.
const SystemRoots = "system"

// Clamp cuts what is no board's to say, and what is over the bounds: strings of at most 255 bytes, at most 16 host keys of at
// most 2048 bytes, 64 routes, 8 resolvers and CAs of at most 64 bytes.
func (i BoardInfo) Clamp() BoardInfo {
	cut := func(s string, n int) string { return s[:min(len(s), n)] }
	i.Version, i.OS, i.Arch = cut(i.Version, 255), cut(i.OS, 255), cut(i.Arch, 255)
	i.Kernel, i.Hostname, i.Terminal = cut(i.Kernel, 255), cut(i.Hostname, 255), cut(i.Terminal, 64)
	keys := i.HostKeys[:min(len(i.HostKeys), 16)]
	i.HostKeys = nil
	for _, k := range keys {
		if len(k) <= 2048 {
			i.HostKeys = append(i.HostKeys, k)
		}
	}
	short := func(list []string, n int) (kept []string) {
		for _, s := range list[:min(len(list), n)] {
			if len(s) <= 64 {
				kept = append(kept, s)
			}
		}
		return kept
	}
	i.PublicAddress = "" // a board does not know
	i.Routes, i.Resolvers, i.Trusts = short(i.Routes, 64), short(i.Resolvers, 8), short(i.Trusts, 8)
	return i
}
