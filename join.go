package s4t

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/url"
	"strings"
)

// JoinString is what a contributor pastes after `lightning-rod join`: where
// the cloud is, which CA to trust, and a registration code.
type JoinString struct {
	URLs        []string `json:"u"`           // https://host:port, in order of preference
	Code        string   `json:"c"`           // works once (or as often as its fleet token says)
	Fingerprint string   `json:"f,omitempty"` // SHA-256 of the CA certificate's DER, hex; empty: the system's roots
	Name        string   `json:"n,omitempty"` // name of the board, where the code belongs to a named board
}

const (
	joinPrefix  = "s4t1."
	maxJoinText = 4096 // bytes of a join string
)

// String returns the one shell word: "s4t1." + base64url(JSON) + "." + CRC-32
// in hex. The CRC tells a broken paste from a wrong code.
func (j JoinString) String() string {
	b, _ := json.Marshal(j) // strings only: cannot fail
	body := base64.RawURLEncoding.EncodeToString(b)
	return fmt.Sprintf("%s%s.%08x", joinPrefix, body, crc32.ChecksumIEEE([]byte(body)))
}

// ParseJoin reads a join string and checks all of it.
func ParseJoin(s string) (JoinString, error) {
	bad := func(format string, args ...any) (JoinString, error) {
		return JoinString{}, Errorf(Invalid, "read the join string", "copy it whole from `s4t board create`", format, args...)
	}
	s = strings.TrimSpace(s)
	if len(s) > maxJoinText {
		return bad("it is longer than %d bytes", maxJoinText)
	}
	rest, ok := strings.CutPrefix(s, joinPrefix)
	if !ok {
		return bad("it does not start with %q", joinPrefix)
	}
	body, sum, ok := strings.Cut(rest, ".")
	if !ok || sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
		return bad("it is cut short or was changed")
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return bad("it is not base64: %w", err)
	}
	var j JoinString
	if err := json.Unmarshal(raw, &j); err != nil {
		return bad("its content is not understood: %w", err)
	}
	if len(j.URLs) == 0 || len(j.URLs) > 8 {
		return bad("it names %d URLs, 1 to 8 are allowed", len(j.URLs))
	}
	for _, u := range j.URLs {
		p, err := url.Parse(u)
		if err != nil || p.Scheme != "https" && p.Scheme != "http" || p.Host == "" {
			return bad("%q is not an http(s) URL", u)
		}
	}
	if j.Code == "" || len(j.Code) > 128 {
		return bad("it has no code")
	}
	if j.Fingerprint != "" && (len(j.Fingerprint) != 64 || strings.Trim(j.Fingerprint, "0123456789abcdef") != "") {
		return bad("its CA fingerprint is not 64 hex digits")
	}
	if j.Name != "" {
		if err := ValidName("board", j.Name); err != nil {
			return bad("its board name is not valid")
		}
	}
	return j, nil
}
