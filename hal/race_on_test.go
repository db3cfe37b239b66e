//go:build race

package hal

// raceEnabled says that the race detector is on.
const raceEnabled = true
