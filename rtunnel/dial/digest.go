package dial

import (
	"crypto/md5" //nolint:gosec // RFC 7616 keeps it for old proxies; SHA-256 is preferred where offered
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// proxyAuth is what a proxy asked for, and how often it was answered. It is
// guarded by Dialer.mu.
type proxyAuth struct {
	scheme string // "basic" or "digest"
	stale  bool   // only the nonce was old; user and password may be right

	realm, nonce, opaque string
	algorithm            string // as the proxy wrote it; "" means MD5
	qop                  bool   // it offers qop=auth
	count                int    // requests made with this nonce
}

// chooseAuth picks the strongest scheme among a proxy's challenges that we
// know: digest with SHA-256, digest with MD5, basic.
func chooseAuth(p *proxy, challenges []string) (*proxyAuth, error) {
	var best *proxyAuth
	rank := 0
	for _, c := range challenges {
		for _, a := range parseChallenges(c) {
			r := 0
			switch {
			case a.scheme == "basic":
				r = 1
			case a.scheme == "digest" && a.nonce != "" && (a.algorithm == "" || strings.EqualFold(a.algorithm, "MD5")):
				r = 2
			case a.scheme == "digest" && a.nonce != "" && strings.EqualFold(a.algorithm, "SHA-256"):
				r = 3
			}
			if r > rank {
				best, rank = a, r
			}
		}
	}
	if best == nil {
		return nil, fmt.Errorf("wants a kind of login that is not supported: %s (Basic and Digest are)", offered(challenges))
	}
	if p.user == "" {
		return nil, errLoginMissing
	}
	return best, nil
}

var errLoginMissing = errors.New("wants a login (407)")

// offered lists the schemes of challenges, bounded.
func offered(challenges []string) string {
	var names []string
	for _, c := range challenges {
		for _, a := range parseChallenges(c) {
			if len(names) < 8 {
				names = append(names, firstLine(a.scheme))
			}
		}
	}
	if len(names) == 0 {
		return "it names none"
	}
	return strings.Join(names, ", ")
}

// parseChallenges reads one Proxy-Authenticate field (RFC 9110 section
// 11.6.1), which may hold several challenges.
func parseChallenges(s string) []*proxyAuth {
	var all []*proxyAuth
	var cur *proxyAuth
	for len(all) < 8 {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return all
		}
		end := strings.IndexAny(s, " \t,=")
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		after := strings.TrimLeft(s[end:], " \t")
		if !strings.HasPrefix(after, "=") || cur == nil { // a scheme, not a parameter
			cur = &proxyAuth{scheme: strings.ToLower(word)}
			all = append(all, cur)
			if s = s[end:]; strings.HasPrefix(s, "=") {
				s = s[1:]
			}
			continue
		}
		var value string
		value, s = parameterValue(strings.TrimLeft(after[1:], " \t"))
		switch strings.ToLower(word) {
		case "realm":
			cur.realm = value
		case "nonce":
			cur.nonce = value
		case "opaque":
			cur.opaque = value
		case "algorithm":
			cur.algorithm = value
		case "stale":
			cur.stale = strings.EqualFold(value, "true")
		case "qop":
			for q := range strings.SplitSeq(value, ",") {
				cur.qop = cur.qop || strings.EqualFold(strings.TrimSpace(q), "auth")
			}
		}
	}
	return all
}

// parameterValue reads a token or a quoted string at the start of s.
func parameterValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// header returns the Proxy-Authorization for CONNECT addr; "" where nothing
// was asked for yet.
func (a *proxyAuth) header(p *proxy, addr string) string {
	if a == nil {
		return ""
	}
	if a.scheme == "basic" {
		return p.basic()
	}
	var nonce [12]byte
	rand.Read(nonce[:])
	a.count++
	return a.digest(p, addr, hex.EncodeToString(nonce[:]))
}

// digest computes the answer of RFC 7616 section 3.4 for CONNECT addr.
func (a *proxyAuth) digest(p *proxy, addr, cnonce string) string {
	newHash := md5.New
	if strings.EqualFold(a.algorithm, "SHA-256") {
		newHash = sha256.New
	}
	h := func(s string) string { return hexSum(newHash(), s) }
	ha1 := h(p.user + ":" + a.realm + ":" + p.password)
	ha2 := h("CONNECT:" + addr)
	var b strings.Builder
	q := func(name, value string) {
		fmt.Fprintf(&b, `, %s="%s"`, name, strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(value))
	}
	q("username", p.user)
	q("realm", a.realm)
	q("nonce", a.nonce)
	q("uri", addr)
	if a.algorithm != "" {
		b.WriteString(", algorithm=" + a.algorithm)
	}
	if a.qop {
		nc := fmt.Sprintf("%08x", a.count)
		q("response", h(ha1+":"+a.nonce+":"+nc+":"+cnonce+":auth:"+ha2))
		b.WriteString(", qop=auth, nc=" + nc)
		q("cnonce", cnonce)
	} else { // RFC 2069, which RFC 7616 keeps for proxies without qop
		q("response", h(ha1+":"+a.nonce+":"+ha2))
	}
	if a.opaque != "" {
		q("opaque", a.opaque)
	}
	return "Digest " + strings.TrimPrefix(b.String(), ", ")
}

func hexSum(h hash.Hash, s string) string {
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}
