//go:build !unix

package rtunnel

// initRaw does nothing: there is no reading by descriptor here.
func (c *Conn) initRaw() {}

// fillRaw is never called, as raw is never set.
func (c *Conn) fillRaw() (int, error) { return c.fillRead() }

// initRaw does nothing, too.
func (b *bulk) initRaw() {}

// readAhead is never called, as raw is never set.
func (b *bulk) readAhead() error { return nil }
