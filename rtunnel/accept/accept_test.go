package accept

import (
	"encoding/base64"
	"net/http"
	"testing"
)

func TestBearer(t *testing.T) {
	const ticket = "eyJpZCI6IjEifQ.c2ln"
	in := base64.RawURLEncoding.EncodeToString([]byte(ticket))
	for _, tt := range []struct {
		name   string
		header http.Header
		want   string
	}{
		{"none", http.Header{}, ""},
		{"a header", http.Header{"Authorization": {"bearer " + ticket}}, ticket},
		{"another scheme", http.Header{"Authorization": {"Basic " + ticket}}, ""},
		{"a subprotocol", http.Header{"Sec-Websocket-Protocol": {"s4t.stream.1, s4t.ticket." + in}}, ticket},
		{"a subprotocol, on a line of its own", http.Header{"Sec-Websocket-Protocol": {"s4t.stream.1", " s4t.ticket." + in}}, ticket},
		{"a subprotocol that is no base64", http.Header{"Sec-Websocket-Protocol": {"s4t.ticket.!"}}, ""},
		{"both: the header", http.Header{"Authorization": {"Bearer x"}, "Sec-Websocket-Protocol": {"s4t.ticket." + in}}, "x"},
	} {
		if got := Bearer(&http.Request{Header: tt.header}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	r := &http.Request{Method: "GET", ProtoMajor: 1, Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
		"Sec-Websocket-Protocol": {"s4t.ticket." + in + ", s4t.stream.1"},
	}}
	if proto, err := Subprotocol(r, []string{"s4t.stream.1"}); proto != "s4t.stream.1" || err != nil {
		t.Errorf("answered %q, %v", proto, err)
	}
}
