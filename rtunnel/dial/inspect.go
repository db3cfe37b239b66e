package dial

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"
)

// Inspection is what answers at a URL, whoever that is.
type Inspection struct {
	Chain    []*x509.Certificate // what it calls itself; nothing of it was verified
	Code     int                 // HTTP status
	Date     time.Time           // of its clock; zero: it does not say
	Location string              // host that it sends on to; "": nowhere else
}

// Inspect asks path of rawURL with a plain GET. Its TLS is not verified, so
// nothing secret goes there and nothing that comes is believed: it is for
// saying what stands in the way of [Dialer.Dial].
func (d *Dialer) Inspect(ctx context.Context, rawURL, path string) (*Inspection, error) {
	r, err := d.route(rawURL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	plain := r
	plain.secure = false
	c, err := d.dialOnce(ctx, plain, r.sizes[0])
	if err != nil {
		return nil, err
	}
	defer func() { c.Close() }()
	found := &Inspection{}
	op := "look at " + r.url
	if r.secure {
		cfg := &tls.Config{ServerName: r.host, NextProtos: []string{"http/1.1"}, InsecureSkipVerify: true} //nolint:gosec // nothing is believed
		tc, err := d.handshakeTLS(ctx, op, c, r.host, cfg, r.patience)
		if err != nil {
			return nil, err
		}
		found.Chain = tc.ConnectionState().PeerCertificates
		c = tc
	}
	return found, found.get(ctx, c, r.target, path)
}

// Date returns the server's clock, from a connection that is verified like any
// other.
func (d *Dialer) Date(ctx context.Context, rawURL, path string) (time.Time, error) {
	t, err := parseTarget(rawURL)
	if err != nil {
		return time.Time{}, err
	}
	c, err := d.DialTLS(ctx, rawURL)
	if err != nil {
		return time.Time{}, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	var found Inspection
	err = found.get(ctx, c, t, path)
	return found.Date, err
}

// get asks for path over c and reads the head of the answer.
func (f *Inspection) get(ctx context.Context, c net.Conn, t target, path string) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: stack4things\r\nConnection: close\r\n\r\n", t.below+path, t.hostHeader()); err != nil {
		return err
	}
	head, err := readHead(bufio.NewReader(io.LimitReader(c, maxHead)))
	if err != nil {
		return err
	}
	f.Code = head.code
	f.Date, _ = time.Parse(time.RFC1123, head.get("Date"))
	if u, err := url.Parse(head.get("Location")); err == nil && head.code/100 == 3 && u.Hostname() != "" && u.Hostname() != t.host {
		f.Location = firstLine(u.Hostname())
	}
	return nil
}
