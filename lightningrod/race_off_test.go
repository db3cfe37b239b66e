//go:build !race

package lightningrod

// raceEnabled says that the race detector is on.
const raceEnabled = false
