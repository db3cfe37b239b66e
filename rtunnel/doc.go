// Package rtunnel is the reverse tunnel: a WebSocket (RFC 6455) that a board,
// or a user's command, dials out to the cloud over TLS, and what travels in it.
//
// # The protocol on one page
//
// The opener sends an HTTP/1.1 upgrade to /rtunnel with the ticket in
// "Authorization: Bearer" and one subprotocol; the answer is 101 or an HTTP
// error whose first line of body says why. From then on:
//
//	subprotocol     opened by   a binary message is                    a text message is
//	s4t.port.1      board       offload header and one frame           ignored
//	s4t.streams.1   board       bytes of the stream now open           control: {"open":...}
//	s4t.stream.1    user        bytes of the stream                    control
//	s4t.bundle.1    board       bytes of a bundle                      wire.BundleFrom, wire.BundleHead
//	s4t.peer.1      agent       origin, offload header and one frame   ignored
//
// The offload header is the virtio_net_hdr of 10 bytes, little endian, that
// the kernel puts before a frame of a TAP or a packet of a TUN (Linux
// include/uapi/linux/virtio_net.h); the frame after it may be a super-frame of
// up to 64 KB. Messages are never compressed. The client masks with keys from
// ChaCha8, the server does not mask. Lengths are in their shortest form and a
// longer form is refused; a message may come in fragments, as something
// between may cut it, but none is sent so. A ping is answered out of order with
// data and never makes the reader wait for the writer.
//
// # The rooms
//
//	rtunnel    frames and messages: Conn, Layout, Sender, Splicer
//	dial       the client's opening: names, TCP, proxies, TLS, upgrade; for /wamp too
//	accept     the server's; who links it links net/http
//	stream     connections inside a tunnel: Pool at the board, Opener at the tunnel agent
//	resume     a stream that outlives the connections which carry it
//	park       who waits for bytes without a goroutine
//	sockopt    TCP options
//
// This package is the WebSocket and its fast paths. In the order of the bytes:
//
//	frame.go, mask.go        one frame
//	conn.go, read.go         messages that come
//	write.go, layout.go      messages that go; try.go where nobody may wait
//	sender.go, splice.go     bytes of a socket as messages, by copy and in the kernel
//	rawread*.go, rawwrite*.go, recordbatch.go    few system calls, also under TLS
//	park.go                  reading that ends until something comes
//
// # Speed and memory
//
// Many frames go to one write ([Layout], [Conn.WriteFrames]) and come from one
// read ([Conn.ReadFrames]), which parses and unmasks in place and allocates
// nothing. Buffers of up to 320 KiB are lent to a Conn when bytes arrive and
// taken back when none are left, so that an idle Conn holds none. Without TLS the
// bytes of bulky streams do not come through the process (splice.go).
package rtunnel
