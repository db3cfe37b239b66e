package dial

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
)

const (
	maxHead      = 16 << 10 // bytes of a response's head
	maxHeadLines = 100
)

// errHead marks an answer that is not an HTTP/1.x response.
var errHead = errors.New("malformed head")

// responseHead is the head of an HTTP/1.1 response (RFC 9112).
type responseHead struct {
	code   int
	reason string
	fields [][2]string // in order; names in lower case
}

// get returns the first field of that name, "" for none.
func (h *responseHead) get(name string) string {
	if v := h.values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// values returns all fields of that name.
func (h *responseHead) values(name string) (v []string) {
	name = strings.ToLower(name)
	for _, f := range h.fields {
		if f[0] == name {
			v = append(v, f[1])
		}
	}
	return v
}

// readHead reads a status line and fields up to the empty line, and not a byte
// more than br buffers. Interim responses (1xx but 101) are skipped.
func readHead(br *bufio.Reader) (*responseHead, error) {
	left := maxHead
	for {
		h, err := readOneHead(br, &left)
		if err != nil || h.code/100 != 1 || h.code == 101 {
			return h, err
		}
	}
}

func readOneHead(br *bufio.Reader, left *int) (*responseHead, error) {
	line, err := readLine(br, left)
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 {
		return nil, fmt.Errorf("%w: status line %s", errHead, quote(line))
	}
	h := &responseHead{code: int(n), reason: reason}
	for {
		line, err := readLine(br, left)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return h, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") || len(h.fields) >= maxHeadLines {
			return nil, fmt.Errorf("%w: field %s", errHead, quote(line))
		}
		h.fields = append(h.fields, [2]string{strings.ToLower(name), strings.Trim(value, " \t")})
	}
}

// readLine reads up to a line feed, counting down left.
func readLine(br *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return "", fmt.Errorf("%w: it is longer than %d bytes", errHead, maxHead)
		}
		line = append(line, part...)
		switch err {
		case nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case bufio.ErrBufferFull:
		case io.EOF:
			return "", io.ErrUnexpectedEOF
		default:
			return "", err
		}
	}
}

// statusError is an HTTP answer that is not what was asked for.
type statusError struct {
	code     int
	reason   string
	location string
}

// Error implements error.
func (e *statusError) Error() string {
	s := strconv.Itoa(e.code)
	if e.reason != "" {
		s += " " + firstLine(e.reason)
	}
	if e.location != "" {
		s += " to " + quote(e.location)
	}
	return s
}

// firstLine returns the first line of text from outside, bounded and without
// control characters, to stand in an error.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 200)], ""))
}

// quote quotes text from outside, bounded.
func quote(s string) string { return strconv.Quote(s[:min(len(s), 120)]) }

// isReset reports whether err is a connection broken by the peer.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}
