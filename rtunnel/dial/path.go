package dial

import (
	"net"
	"slices"
	"sync/atomic"
	"time"
)

// segmentSizes are tried in turn where the TLS handshake stalls: what the
// kernel thinks, then what fits paths of 1280 (the least of IPv6), 1124 and
// 576 bytes (the least of IPv4) with IPv6 headers.
var segmentSizes = []int{0, 1220, 1060, 516}

const (
	pathTTL  = time.Hour // a small segment size is kept this long, then larger ones are tried again
	maxPaths = 64        // hosts remembered
)

// pathMemory is what is known of the path to a host.
type pathMemory struct {
	mss      int // the size that got through
	at       time.Time
	patience time.Duration // 0: the configured one; grows when every size stalled, since the server may just be slow
}

// pathTo returns the segment sizes to try towards hop, in order, and how long
// a handshake may stall.
func (d *Dialer) pathTo(hop string) ([]int, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.paths[hop]
	if !ok || d.cfg.Now().Sub(m.at).Abs() > pathTTL {
		return segmentSizes, d.cfg.Stall
	}
	return segmentSizes[max(0, slices.Index(segmentSizes, m.mss)):], max(m.patience, d.cfg.Stall)
}

// remember keeps the size that got through to hop.
func (d *Dialer) remember(hop string, mss int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.paths[hop]
	switch {
	case mss == 0:
		delete(d.paths, hop)
	case ok && m.mss == mss && d.cfg.Now().Sub(m.at).Abs() <= pathTTL: // keep its age, so that larger ones get their turn
	default:
		d.put(hop, pathMemory{mss: mss, at: d.cfg.Now()})
	}
}

// next has the next dial to hop begin with this size.
func (d *Dialer) next(hop string, mss int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.put(hop, pathMemory{mss: mss, at: d.cfg.Now(), patience: d.paths[hop].patience})
}

// stalled notes that no size got through: the next dial starts with all of
// them again and is twice as patient.
func (d *Dialer) stalled(hop string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	patience := max(d.paths[hop].patience, d.cfg.Stall)
	d.put(hop, pathMemory{at: d.cfg.Now(), patience: min(2*patience, d.cfg.Timeout)})
}

// put bounds the memory. d.mu is held.
func (d *Dialer) put(hop string, m pathMemory) {
	if _, ok := d.paths[hop]; !ok && len(d.paths) >= maxPaths {
		clear(d.paths)
	}
	d.paths[hop] = m
}

// progressConn tells when bytes arrive.
type progressConn struct {
	net.Conn
	progress chan struct{}
	quiet    atomic.Bool // the handshake is over

	head [headKept]byte // what came first; the handshake's goroutine has it
	kept int
}

// headKept is how many bytes are kept of what a server says first.
const headKept = 64

// said is what came first.
func (c *progressConn) said() []byte { return c.head[:c.kept] }

// Read implements net.Conn.
func (c *progressConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.quiet.Load() {
		c.kept += copy(c.head[c.kept:], p[:n])
		select {
		case c.progress <- struct{}{}:
		default:
		}
	}
	return n, err
}

// NetConn returns the connection below, as tls.Conn.NetConn does.
func (c *progressConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the writing direction where the connection below can.
func (c *progressConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Conn.Close()
}
