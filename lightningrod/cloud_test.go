package lightningrod

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// testCloud is a cloud of one board: the real router and real rtunnels over
// TLS on loopback, with a conductor of a few lines.
type testCloud struct {
	url, fingerprint string
	router           *router.Router
	opener           *stream.Opener
	ports            chan *rtunnel.Conn // the agent's end of data rtunnels of ports
	reports          chan wire.BoardReport

	mu         sync.Mutex // guards the fields below
	code       string
	key        ed25519.PublicKey // that the code belongs to
	loseAnswer bool              // of the next join
	unsure     bool              // about codes
	name       string            // that the join asked for
	host       string            // that it told
	desired    wire.BoardDesired
	epoch      int64
	left       bool
	session    router.Session
}

func newTestCloud(t *testing.T) *testCloud {
	t.Helper()
	return newTestCloudFrom(t, time.Now().Add(-time.Hour))
}

// newTestCloudFrom is a cloud whose certificates are valid for a year from
// then on.
func newTestCloudFrom(t *testing.T, from time.Time) *testCloud {
	t.Helper()
	c := &testCloud{
		code: "GOOD", opener: stream.NewOpener(nil), ports: make(chan *rtunnel.Conn, 16),
		reports: make(chan wire.BoardReport, 64), desired: testDesired(1),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	r, err := router.New(router.Config{
		Identify:   c.identify,
		Join:       c.join,
		Check:      c.check,
		Procedures: []string{wamp.Connected, wamp.Desired, wamp.Report, wamp.Ticket, wamp.Leave},
		Serve:      c.serve,
		Joined:     func(s router.Session) { c.mu.Lock(); c.session = s; c.mu.Unlock() },
		Left:       func(router.Session) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.router = r
	running.Go(func() { r.Run(ctx) })
	mux := http.NewServeMux()
	mux.Handle(wamp.Path, r)
	mux.HandleFunc(rtunnel.Path, func(w http.ResponseWriter, r *http.Request) {
		ticket, err := wire.VerifyTicket(conductorKey.Public().(ed25519.PublicKey), accept.Bearer(r), time.Now())
		if err != nil {
			accept.Refuse(w, err)
			return
		}
		conn, protocol, err := accept.Accept(w, r, []string{rtunnel.SubprotocolPort, rtunnel.SubprotocolStreams})
		if err != nil {
			return
		}
		if protocol == rtunnel.SubprotocolPort {
			c.ports <- conn
			return
		}
		running.Go(func() { c.opener.Serve(ctx, ticket.Board, conn) })
	})
	cert, ca := makeCertificates(t, from)
	sum := sha256.Sum256(ca)
	c.fingerprint = hex.EncodeToString(sum[:])
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	c.url = srv.URL
	c.desired.URLs = []string{c.url}
	t.Cleanup(func() {
		cancel()
		srv.Close()
		running.Wait()
		for len(c.ports) > 0 {
			(<-c.ports).Close()
		}
	})
	return c
}

// makeCertificates returns a certificate for 127.0.0.1 with its chain, and the
// CA's DER.
func makeCertificates(t *testing.T, from time.Time) (tls.Certificate, []byte) {
	t.Helper()
	make := func(tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.NotBefore, tmpl.NotAfter = from, from.AddDate(1, 0, 0)
		if parent == nil {
			parent, signer = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, caKey := make(ca, nil, nil)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafDER, leafKey := make(leaf, ca, caKey)
	return tls.Certificate{Certificate: [][]byte{leafDER, caDER}, PrivateKey: leafKey}, caDER
}

func (c *testCloud) identify(_ context.Context, board s4t.BoardID) (wire.BoardIdentity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if board != boardA || c.key == nil || c.left {
		return wire.BoardIdentity{}, s4t.Errorf(s4t.NotFound, "identify", "", "no such board")
	}
	return wire.BoardIdentity{Board: boardA, PublicKey: c.key}, nil
}

func (c *testCloud) join(_ context.Context, req wire.BoardJoin) (wire.BoardJoined, error) {
	code, key := req.Code, ed25519.PublicKey(req.PublicKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	if code != c.code {
		return wire.BoardJoined{}, s4t.Errorf(s4t.NotFound, "join", "ask for a new one", "the code does not exist")
	}
	if c.key != nil && !c.key.Equal(key) {
		return wire.BoardJoined{}, s4t.Errorf(s4t.Conflict, "join", "ask for a new one", "the code was used")
	}
	c.key, c.name, c.host = key, req.Name, req.Host
	if c.loseAnswer {
		c.loseAnswer = false
		return wire.BoardJoined{}, s4t.Errorf(s4t.Unavailable, "join", "try again", "the answer was lost")
	}
	return wire.BoardJoined{Board: boardA, Name: "kitchen", TicketKey: conductorKey.Public().(ed25519.PublicKey)}, nil
}

func (c *testCloud) check(_ context.Context, req wire.BoardJoin) error {
	code, key := req.Code, ed25519.PublicKey(req.PublicKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.unsure:
		return s4t.Errorf(s4t.Unavailable, "check", "try again", "the conductor is away")
	case code != c.code:
		return s4t.Errorf(s4t.Unauthenticated, "check", "ask for a new one", "the code is not known")
	case c.key != nil && !c.key.Equal(key):
		return s4t.Errorf(s4t.Conflict, "check", "ask for a new one", "the code was used")
	}
	return nil
}

func (c *testCloud) serve(_ context.Context, _ router.Session, procedure, arg string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.desired.Time = time.Now()
	var answer any = wire.Empty{}
	switch procedure {
	case wamp.Connected:
		c.epoch++
		answer = wire.BoardWelcome{Epoch: c.epoch, Desired: c.desired}
	case wamp.Desired:
		answer = c.desired
	case wamp.Report:
		var r wire.BoardReport
		if err := json.Unmarshal([]byte(arg), &r); err != nil {
			return "", err
		}
		c.reports <- r
	case wamp.Ticket:
		var ask wire.BoardTicket
		if err := json.Unmarshal([]byte(arg), &ask); err != nil {
			return "", err
		}
		tickets := wire.BoardTickets{}
		for range ask.Count {
			t := wire.Ticket{ID: s4t.NewID(), Purpose: ask.Purpose, Board: boardA, Port: ask.Port, Expires: time.Now().Unix() + 60}
			tickets.Tickets = append(tickets.Tickets, t.Sign(conductorKey))
		}
		answer = tickets
	case wamp.Leave:
		c.left = true
	}
	return string(wire.Encode(answer)), nil
}

// call calls a procedure of the board.
func (c *testCloud) call(t *testing.T, procedure string) (string, error) {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	return c.router.Call(t.Context(), s, procedure, "{}")
}

// change changes the desired state and wakes the board.
func (c *testCloud) change(t *testing.T, change func(*wire.BoardDesired)) {
	t.Helper()
	c.mu.Lock()
	c.desired.Generation++
	change(&c.desired)
	wake := wire.BoardWake{Board: boardA, Generation: c.desired.Generation}
	c.mu.Unlock()
	if err := c.router.Publish(t.Context(), wamp.BoardURI(boardA, wamp.Wake), string(wire.Encode(wake))); err != nil {
		t.Fatal(err)
	}
}

func (c *testCloud) joinString(name string) string {
	return s4t.JoinString{URLs: []string{c.url}, Code: c.code, Fingerprint: c.fingerprint, Name: name}.String()
}
