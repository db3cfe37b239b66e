// Package journal remembers on the board's disk which commands began and how they
// ended, so that each runs once and no result is lost, whatever is killed or cut.
package journal
