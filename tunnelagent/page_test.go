package tunnelagent

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// page opens a WebSocket as a browser does for a page of an origin: the ticket is a
// subprotocol. It returns the answer.
func (r *rig) page(origin, ticket string) *http.Response {
	r.t.Helper()
	conf := r.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.NextProtos, conf.ServerName = []string{"http/1.1"}, "example.com" // one of the test server's names
	c, err := tls.Dial("tcp", r.server.Listener.Addr().String(), conf)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: agent.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+
		"Sec-WebSocket-Protocol: %s, %s%s\r\nOrigin: %s\r\n\r\n", rtunnel.Path, rtunnel.SubprotocolStream, rtunnel.TicketPrefix, base64.RawURLEncoding.EncodeToString([]byte(ticket)), origin)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res.Body.Close()
	return res
}

func TestTheTicketOfAPageOpensNothingForAnother(t *testing.T) {
	r := newRig(t)
	r.board(kitchen)
	const dashboard = "https://cloud.example"
	of := func(origin string) string {
		return r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen, Target: "127.0.0.1:22", Origin: origin}, nil)
	}
	if res := r.page(dashboard, of(dashboard)); res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Protocol") != rtunnel.SubprotocolStream {
		t.Errorf("its own page: %s %v", res.Status, res.Header)
	}
	for name, res := range map[string]*http.Response{
		"a page of a public port":            r.page(dashboard+":50080", of(dashboard)),
		"a page, with a ticket of a program": r.page(dashboard, of("")),
	} {
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, res.Status)
		}
	}
	if _, err := r.dial(rtunnel.SubprotocolStream, of(dashboard)); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("a program, with a page's ticket: %v", err)
	}
}
