//go:build !race

package cloudtest

// raceEnabled says that the race detector is on.
const raceEnabled = false
