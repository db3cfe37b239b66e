//go:build race

package vswitch

// raceEnabled says that the race detector is on.
const raceEnabled = true
