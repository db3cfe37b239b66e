package wire

// A bundle goes to a board over an rtunnel of its own (rtunnel.SubprotocolBundle):
// the board sends a BundleFrom, the tunnel agent answers a BundleHead, both as text,
// then the bytes from there as binary messages, and closes.

// BundleFrom says from where a board wants a bundle, of which it has what comes before.
type BundleFrom struct {
	Offset int64 `json:"offset"`
}

// BundleHead answers it. With Error no bytes come; it may come after bytes, too.
type BundleHead struct {
	Size  int64  `json:"size,omitempty"` // of all of it
	Error *Error `json:"error,omitempty"`
}
