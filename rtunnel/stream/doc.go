// Package stream carries connections inside rtunnels, one at a time in each: the
// board's [Pool] keeps idle rtunnels to the tunnel agent, whose [Opener] opens a
// stream on one of them, and a user's [Stream] is an rtunnel of its own.
//
// In the order of the bytes, at either end of an rtunnel that carries streams one
// after another:
//
//	control.go                 the text messages: open, opened, eof, reset
//	opener.go                  the tunnel agent: takes an idle rtunnel and asks
//	pool.go, serve.go          the board: keeps idle rtunnels, answers, connects
//	streamconn.go, splice.go   both: moves the bytes
//	parkidle.go                both: who is idle holds no goroutine
//	stream.go                  the user's end
package stream
