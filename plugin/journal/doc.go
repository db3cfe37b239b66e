// Package journal remembers on the board's disk which commands began and how they
// ended, so that each runs once and no result is lost, whatever is killed or cut.
//
// The journal is one file to which lines are appended, each with its checksum. A run
// is on the disk before it begins. All who wait for the disk at the same moment wait for
// one fdatasync(2): on flash it takes milliseconds. How a run ended is written at
// once, which outlives the process, and is on the disk soon after, which outlives the
// machine. What is not needed any more goes when the file is written anew.
package journal
