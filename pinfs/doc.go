// Package pinfs is the tree of pins as files, on the board itself and, of other
// boards, wherever it is mounted: names, modes, values, poll(2), errnos.
package pinfs
