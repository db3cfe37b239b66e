package nameserver

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// TTL is how long others may remember an answer, also that there is none: a service
	// that has moved is found after that.
	TTL = 5 * time.Second
	// serverTTL is it for the name servers of the zone and their addresses.
	serverTTL = time.Hour

	// maxQuery bounds a query: one name of 255 bytes and what EDNS has to say.
	maxQuery = 1232
	// minUDP is what who says nothing takes, and maxUDP what is sent at most: it
	// passes every network in one piece.
	minUDP, maxUDP = 512, 1232
)

// Types of queries that dnsmessage has no name for.
const (
	typeIXFR dnsmessage.Type  = 251
	rcodeBad dnsmessage.RCode = 16 // BADVERS: a version of EDNS that is not known (RFC 6891)
)

// query is what somebody asks.
type query struct {
	id       uint16
	recurse  bool
	question dnsmessage.Question
	name     string // of the question in lower case, with the dot at the end
	edns     bool
	version  byte // of EDNS
	size     int  // that the answer may have over UDP
}

// parse reads a query. What has no question that can be answered has a code for the answer;
// what must not be answered at all, as it may be an answer itself, is not ok.
func parse(msg []byte) (q query, code dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response {
		return q, 0, false
	}
	q.id, q.recurse, q.size = h.ID, h.RecursionDesired, minUDP
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if q.question, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone { // two have no meaning
		q.question = dnsmessage.Question{}
		return q, dnsmessage.RCodeFormatError, true
	}
	q.name = lower(q.question.Name.String())
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return q, dnsmessage.RCodeSuccess, true
		}
		if err != nil || p.SkipAdditional() != nil || h.Type == dnsmessage.TypeOPT && q.edns {
			return q, dnsmessage.RCodeFormatError, true
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns, q.version = true, byte(h.TTL>>16)
			q.size = min(max(int(h.Class), minUDP), maxUDP)
		}
	}
}

// lower changes ASCII only, as names are compared.
func lower(name string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// reply is an answer that is not packed yet.
type reply struct {
	code          dnsmessage.RCode
	authoritative bool
	truncated     bool
	answers       []dnsmessage.Resource
	additionals   []dnsmessage.Resource
}

// answer is what is said to a message; nil: nothing is.
func (s *Server) answer(ctx context.Context, msg []byte, udp bool) []byte {
	q, code, ok := parse(msg)
	if !ok {
		return nil
	}
	r := reply{code: code}
	if code == dnsmessage.RCodeSuccess {
		r = s.resolve(ctx, q)
	}
	packed, err := s.pack(q, r)
	if err == nil && (!udp || len(packed) <= q.size) {
		return packed
	}
	if err != nil {
		r = reply{code: dnsmessage.RCodeServerFailure}
	} else {
		r = reply{code: r.code, authoritative: r.authoritative, truncated: true}
	}
	packed, err = s.pack(q, r)
	if err != nil {
		return nil
	}
	return packed
}

// resolve finds the answer to a query that was understood.
func (s *Server) resolve(ctx context.Context, q query) reply {
	rest, within := strings.CutSuffix(q.name, s.zone)
	switch t := q.question.Type; {
	case q.version != 0:
		return reply{code: rcodeBad}
	case q.question.Class != dnsmessage.ClassINET && q.question.Class != dnsmessage.ClassANY, !within, rest != "" && !strings.HasSuffix(rest, "."), t == dnsmessage.TypeAXFR, t == typeIXFR:
		return reply{code: dnsmessage.RCodeRefused}
	case rest == "":
		return s.apex(q)
	}
	r := reply{authoritative: true}
	switch labels := strings.Split(strings.TrimSuffix(rest, "."), "."); {
	case len(labels) == 1 && labels[0] == "_tcp": // there are names below it
		return r
	case len(labels) == 1 && labels[0] == s4t.OwnDNSName && len(s.cfg.Addresses) > 0:
		r.answers = addresses(q.question.Name, q.question.Type, serverTTL, s.cfg.Addresses...)
		return r
	case len(labels) == 1:
		return s.service(ctx, q, labels[0])
	case len(labels) == 2 && labels[1] == "_tcp" && strings.HasPrefix(labels[0], "_"):
		return s.port(ctx, q, labels[0][1:])
	}
	r.code = dnsmessage.RCodeNameError
	return r
}

// lookup finds where a service is. Where it is not ok the reply says why.
func (s *Server) lookup(ctx context.Context, label string) (place wire.ServicePlace, r reply, ok bool) {
	if name, err := s4t.ParseDNSName("", label); err != nil || name != label {
		return place, reply{code: dnsmessage.RCodeNameError, authoritative: true}, false
	}
	place, err := s.names.find(ctx, label)
	switch {
	case err != nil:
		return place, reply{code: dnsmessage.RCodeServerFailure}, false
	case place.Host == "":
		return place, reply{code: dnsmessage.RCodeNameError, authoritative: true}, false
	}
	return place, reply{authoritative: true}, true
}

// service answers for the name of a service.
func (s *Server) service(ctx context.Context, q query, label string) reply {
	place, r, ok := s.lookup(ctx, label)
	if !ok {
		return r
	}
	if addr, err := netip.ParseAddr(place.Host); err == nil {
		r.answers = addresses(q.question.Name, q.question.Type, TTL, addr)
		return r
	}
	host, err := dnsmessage.NewName(place.Host + ".")
	if err != nil {
		return reply{code: dnsmessage.RCodeServerFailure}
	}
	r.answers = []dnsmessage.Resource{record(q.question.Name, TTL, &dnsmessage.CNAMEResource{CNAME: host})}
	return r
}

// port answers for the name that has the SRV record of a service.
func (s *Server) port(ctx context.Context, q query, label string) reply {
	place, r, ok := s.lookup(ctx, label)
	if !ok || q.question.Type != dnsmessage.TypeSRV && q.question.Type != dnsmessage.TypeALL {
		return r
	}
	target := place.Host + "." // never the service's own name then: that is an alias
	addr, err := netip.ParseAddr(place.Host)
	if err == nil {
		target = label + "." + s.zone
	}
	name, err2 := dnsmessage.NewName(target)
	if err2 != nil {
		return reply{code: dnsmessage.RCodeServerFailure}
	}
	r.answers = []dnsmessage.Resource{record(q.question.Name, TTL, &dnsmessage.SRVResource{Port: uint16(place.PublicPort), Target: name})}
	if err == nil {
		r.additionals = addresses(name, dnsmessage.TypeALL, TTL, addr)
	}
	return r
}

// apex answers for the zone itself.
func (s *Server) apex(q query) reply {
	r := reply{authoritative: true}
	switch q.question.Type {
	case dnsmessage.TypeSOA, dnsmessage.TypeALL:
		r.answers = []dnsmessage.Resource{s.soa(q.question.Name)}
	case dnsmessage.TypeNS:
		for _, name := range s.servers {
			r.answers = append(r.answers, record(q.question.Name, serverTTL, &dnsmessage.NSResource{NS: name}))
		}
		if len(s.cfg.Addresses) > 0 {
			r.additionals = addresses(s.servers[0], dnsmessage.TypeALL, serverTTL, s.cfg.Addresses...)
		}
	}
	return r
}

// soa is the zone's. Nobody copies the zone, so the serial number says nothing; the last
// number is how long may be remembered that a name is not there (RFC 2308).
func (s *Server) soa(name dnsmessage.Name) dnsmessage.Resource {
	return record(name, TTL, &dnsmessage.SOAResource{
		NS: s.servers[0], MBox: s.mailbox, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, MinTTL: uint32(TTL / time.Second),
	})
}

// addresses are the records of a type, or of ANY, for addresses.
func addresses(name dnsmessage.Name, t dnsmessage.Type, ttl time.Duration, addrs ...netip.Addr) (all []dnsmessage.Resource) {
	for _, a := range addrs {
		a = a.Unmap()
		switch {
		case a.Is4() && (t == dnsmessage.TypeA || t == dnsmessage.TypeALL):
			all = append(all, record(name, ttl, &dnsmessage.AResource{A: a.As4()}))
		case a.Is6() && (t == dnsmessage.TypeAAAA || t == dnsmessage.TypeALL):
			all = append(all, record(name, ttl, &dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	return all
}

func record(name dnsmessage.Name, ttl time.Duration, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: uint32(ttl / time.Second)}, Body: body}
}

// pack makes a message of a reply. An answer without records has the SOA beside it: that
// there are none may be remembered.
func (s *Server) pack(q query, r reply) ([]byte, error) {
	m := dnsmessage.Message{
		Header:  dnsmessage.Header{ID: q.id, Response: true, Authoritative: r.authoritative, Truncated: r.truncated, RecursionDesired: q.recurse, RCode: r.code & 0xf},
		Answers: r.answers, Additionals: r.additionals,
	}
	if q.question.Name.Length > 0 {
		m.Questions = []dnsmessage.Question{q.question}
	}
	if r.authoritative && !r.truncated && len(r.answers) == 0 {
		m.Authorities = []dnsmessage.Resource{s.soa(s.zoneName)}
	}
	if q.edns {
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(maxUDP, r.code, false); err != nil {
			return nil, err
		}
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{}})
	}
	return m.Pack()
}
