//go:build race

package rtunnel

// raceEnabled says that the race detector is on.
const raceEnabled = true
