// Package terminal is a shell of a board: a login shell on a pseudo-terminal, begun by
// lightning-rod as a user that the board's owner has named, and carried as a stream.
//
// # The protocol
//
// Inside the stream, which outlives its connections (package rtunnel/resume), both ends send
// frames: one byte of kind, the length of what follows as two bytes, and that. Numbers are
// big-endian.
//
//	open    'o'  user    u16 columns, u16 rows, the name of the terminal ($TERM)
//	size    's'  user    u16 columns, u16 rows
//	data    'd'  both    1 to MaxData bytes
//	exit    'x'  board   u8 status of the shell; 128 and the signal's number where one ended it
//	problem 'e'  board   why there is no shell, or no more; text
//
// open comes first, once. After exit or problem the board sends nothing more.
//
// In the order of the bytes:
//
//	frame.go   the frames
//	passwd.go  the user, as the system knows it
//	host.go    who may have a shell, and how many there are
//	pty.go     the pseudo-terminal
//	shell.go   the shell, as the local end of a stream
//	record.go  what it writes, for who keeps it
package terminal
