package s4t

import "time"

// Limits that more than one room must agree on.
const (
	MaxName        = 63         // bytes of a name
	MaxLabels      = 64         // labels of a board
	MaxLabelText   = 255        // bytes of a label's key or value
	MaxLabelsText  = 4096       // bytes of a board's type and labels together
	MinPassword    = 12         // bytes of a password
	MaxBridgePorts = 250        // boards on one bridge, and bridges that one board is on
	MaxServices    = 1000       // exposed services of one board
	MaxWeight      = 1000       // of a project; the least, and the default, is 1
	MaxFrame       = 65535 + 18 // bytes of one Ethernet super-frame or IP packet, without the offload header
	MaxMessage     = 1 << 20    // bytes of one control message (WAMP, queue, REST body)

	// HandshakeTimeout ends a peer that connects and says nothing, on every
	// listener.
	HandshakeTimeout = 8 * time.Second

	// PresenceInterval is how often the cloud pings a board's control session,
	// PresenceTimeout how long either end waits without a byte before the
	// session counts as dead. A cut link is noticed within their sum, under 10 s.
	PresenceInterval = 3 * time.Second
	PresenceTimeout  = 6 * time.Second

	// PresencePing is how often a board pings, and the cloud does not, where the
	// kernels at both ends find out by themselves that the path is cut, in less
	// than 10 s (see sockopt.Watch). PresenceHung is how long the board may be
	// silent then: only one that hangs is, with a kernel that goes on.
	PresencePing = 15 * time.Second
	PresenceHung = 20 * time.Second

	// CodeLifetime is how long a registration code may wait for its board.
	CodeLifetime = 7 * 24 * time.Hour

	// Realm is the WAMP realm of every session.
	Realm = "s4t"
)
