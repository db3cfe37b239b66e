// Package resume is a byte stream that outlives the connections which carry it:
// a tunnel agent that is killed, a board that changes its address, half a minute
// without a network. Either end keeps what the other has not acknowledged, and
// the next connection begins with how far each has come.
//
// A [Stream] is one end. [Stream.Carry] moves its bytes over one connection after
// the other; the user's end opens them, and the board's [Keeper] finds the stream
// that a connection belongs to. Who may open one is decided by tickets, each time.
//
// # The protocol
//
// On each connection both ends send hello and then, in any order, the other
// messages: one byte of type, and big-endian numbers.
//
//	hello  u8 version, u64 received, u64 limit
//	data   u32 length, bytes; at most maxData
//	ack    u64 received, u64 limit
//	fin    no more bytes come; it counts as one byte of the stream
//	reset  the stream is broken
//	ping, pong
//	bye    of the end that opens connections: it has all it wants, and comes no more
//
// received is how much of the other's stream has arrived, and limit how far the
// other may send: a reader is never made to wait, so that acknowledgements pass a
// service which reads nothing before it has written.
package resume
