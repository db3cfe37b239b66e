package hal

import "os"

// Guarded may be met by the Line of an output: what the guard does for it when
// lightning-rod dies.
type Guarded interface {
	// Guarded says how another process makes v the output.
	Guarded(v float64) GuardOrder
}

// GuardOrder is one write: a text to a file of sysfs.
type GuardOrder struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// RunGuard is the process of the guard: it does what it was told on in when in breaks,
// and nothing when it was told goodbye.
func RunGuard(in *os.File) error { return nil }
