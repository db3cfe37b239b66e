package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
)

// exitStatus alone decides which exit status a kind of error has.
func exitStatus(err error) int {
	if _, ok := err.(*usageError); ok {
		return 2
	}
	switch s4t.KindOf(err) {
	case s4t.Invalid:
		return 2
	case s4t.NotFound:
		return 3
	case s4t.Unauthenticated, s4t.Forbidden:
		return 4
	case s4t.Offline:
		return 5
	case s4t.Conflict, s4t.Stale:
		return 6
	}
	return 1
}

// usageError is a command line that is wrong in itself.
type usageError struct{ text string }

// Error says what is wrong and where help is.
func (e *usageError) Error() string { return e.text }

// usage makes a usageError about a command.
func usage(c *cobra.Command, format string, args ...any) error {
	e := s4t.Errorf(s4t.Invalid, "", "see `"+c.CommandPath()+" -h`", format, args...)
	return &usageError{e.Error()}
}

// remoteStatus is the exit status of a command on a board, which becomes
// ours; whoever ran it has told what went wrong.
type remoteStatus int

// Error is for debuggers.
func (s remoteStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// maxLine is the longest line that is printed of one text, in bytes.
const maxLine = 1 << 16

// oneLine keeps what others said (a board may have) on one line, and what
// commands a terminal away from it.
func oneLine(s string) string { return s4t.Line(s, maxLine) }
