package dial

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// Dial opens a WebSocket at path of rawURL ("https://host:port"; the URL's own
// path is ignored). bearer, if not empty, goes into the Authorization header.
// The error's kind says what to do: Unauthenticated for 401 and a certificate
// that is not trusted, Forbidden for 403, NotFound for 404, Unavailable for
// what may pass by itself.
func (d *Dialer) Dial(ctx context.Context, rawURL, path, subprotocol, bearer string) (*rtunnel.Conn, error) {
	t, err := parseTarget(rawURL)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	u := control
	if bearer != "" {
		u = tunnel
	}
	c, err := d.dialTLS(ctx, rawURL, u)
	if err != nil {
		return nil, err
	}
	conn, err := upgrade(ctx, c, t, path, subprotocol, bearer)
	if err != nil {
		c.Close()
		return nil, err
	}
	return conn, nil
}

// upgrade runs the client's side of the opening handshake (RFC 6455 section
// 4.1) over c.
func upgrade(ctx context.Context, c net.Conn, t target, path, subprotocol, bearer string) (*rtunnel.Conn, error) {
	path = t.below + path
	op := "open a WebSocket at " + t.url + path
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	cut := func(err error) error {
		if errors.Is(err, errHead) {
			return diagnose(wire.WrongServer, s4t.Errorf(s4t.Unavailable, op, "check the address and what is in between", "the answer is not HTTP: %w", err))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return diagnose(wire.UpgradeSilent, s4t.Errorf(s4t.Timeout, op, "check the path, or the server's load", "the server does not answer: %w", err))
		}
		return diagnose(wire.UpgradeCut, s4t.Errorf(s4t.Unavailable, op, "something in between may not let WebSockets pass", "the connection was cut: %w", err))
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	var req strings.Builder
	fmt.Fprintf(&req, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\nUser-Agent: stack4things\r\n", path, t.hostHeader(), key, subprotocol)
	if bearer != "" {
		if strings.ContainsAny(bearer, "\r\n") {
			return nil, s4t.Errorf(s4t.Invalid, op, "", "the ticket has a line break")
		}
		req.WriteString("Authorization: Bearer " + bearer + "\r\n")
	}
	req.WriteString("\r\n")
	if _, err := io.WriteString(c, req.String()); err != nil {
		return nil, cut(err)
	}
	br := bufio.NewReaderSize(c, 2048)
	head, err := readHead(br)
	if err != nil {
		return nil, cut(err)
	}
	if head.code != 101 {
		return nil, refusal(op, c, br, head)
	}
	switch {
	case !strings.EqualFold(head.get("Upgrade"), "websocket"), head.get("Sec-WebSocket-Accept") != rtunnel.AcceptKey(key):
		return nil, diagnose(wire.WrongServer, s4t.Errorf(s4t.Unavailable, op, "check the address", "what answers there is no WebSocket server"))
	case head.get("Sec-WebSocket-Protocol") != subprotocol:
		return nil, diagnose(wire.VersionDiffers, s4t.Errorf(s4t.Invalid, op, "bring both sides to the same version", "the server does not speak %s", subprotocol))
	case head.get("Sec-WebSocket-Extensions") != "":
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "the server uses an extension that was not offered")
	}
	if !stop() {
		return nil, cut(os.ErrDeadlineExceeded)
	}
	rest, _ := br.Peek(br.Buffered())
	return rtunnel.NewConn(c, rest, true), nil
}

// hostHeader is the authority of the request: without the scheme's own port.
func (t target) hostHeader() string {
	if t.secure && t.tcp == "443" || !t.secure && t.tcp == "80" {
		if strings.Contains(t.host, ":") {
			return "[" + t.host + "]"
		}
		return t.host
	}
	return t.addr()
}

// refusal makes an error of an answer other than 101.
func refusal(op string, c net.Conn, br *bufio.Reader, head *responseHead) error {
	c.SetReadDeadline(time.Now().Add(time.Second)) // the body is a courtesy
	most := int64(512)
	if n, err := strconv.ParseInt(head.get("Content-Length"), 10, 64); err == nil {
		most = max(0, min(n, most))
	}
	body, _ := io.ReadAll(io.LimitReader(br, most))
	why := firstLine(string(body))
	if why == "" || strings.HasPrefix(why, "<") {
		why = "the server answered " + (&statusError{code: head.code, reason: head.reason}).Error()
	}
	id, kind, hint := wire.UpgradeRefused, s4t.Unavailable, ""
	switch {
	case head.code >= 300 && head.code < 400, head.code == 511: // RFC 6585 section 6: network authentication required
		return diagnose(wire.CaptivePortal, s4t.Errorf(kind, op, "open a browser on this network and log in, or check the URL",
			"it was answered %d to %s: a captive portal?", head.code, quote(head.get("Location"))))
	case head.code == 200:
		return diagnose(wire.WebPage, s4t.Errorf(kind, op, "check the URL; a captive portal or a proxy may answer in its place", "a web page came instead of a WebSocket"))
	case head.code == 400, head.code == 426:
		id, kind, hint = wire.UpgradeStripped, s4t.Invalid, "something in between may not let WebSockets pass, or the versions differ"
	case head.code == 401:
		kind = s4t.Unauthenticated
	case head.code == 403:
		kind = s4t.Forbidden
	case head.code == 404:
		id, kind, hint = wire.WrongServer, s4t.NotFound, "check the URL"
	case head.code == 409:
		kind = s4t.Conflict
	case head.code == 429:
		kind = s4t.TooMany
	case head.code == 502, head.code == 503, head.code == 504:
		id, hint = wire.CloudDown, "try again in a moment"
	}
	e := s4t.Errorf(kind, op, hint, "%s", why)
	e.RetryAfter = retryAfter(head)
	return diagnose(id, e)
}

// retryAfter is what a response says of when to try again, in whole seconds; 0:
// nothing.
func retryAfter(head *responseHead) time.Duration {
	s, err := strconv.Atoi(head.get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(min(s, maxRetryAfter)) * time.Second
}

// maxRetryAfter is the longest Retry-After that is heeded, in seconds.
const maxRetryAfter = 900
