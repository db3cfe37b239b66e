package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel"
)

// echoStream upgrades, says who it is, and echoes.
func echoStream(t *testing.T, name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, c := range r.Cookies() {
			if name != "cloud" {
				t.Errorf("the agent gets the cookie %s", c)
			}
		}
		http.SetCookie(w, &http.Cookie{Name: "of-" + name, Value: "1"})
		if name != "cloud" && r.Header.Get("Upgrade") == "" {
			t.Errorf("the agent is asked %s %s", r.Method, r.URL)
		}
		if r.URL.Path != rtunnel.Path {
			t.Errorf("%s is asked %s", name, r.URL)
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: of-%s=1\r\n\r\n%s %s\n", name, name, r.Header.Get("Origin"))
		io.Copy(conn, rw)
	}
}

// TestStreamsToOtherAgentsGoThroughTheProxy: the page opens them where it came from, whoever
// carries the board; and without a ticket that the cloud gave this way nobody reaches an agent.
func TestStreamsToOtherAgentsGoThroughTheProxy(t *testing.T) {
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(v, "")
	}
	agent := httptest.NewTLSServer(echoStream(t, "agent"))
	defer agent.Close()
	mux := http.NewServeMux()
	cloud := httptest.NewTLSServer(mux)
	defer cloud.Close()
	mux.HandleFunc("POST /v1/boards/{board}/streams", func(w http.ResponseWriter, r *http.Request) {
		at := map[string]string{"near": cloud.URL, "far": agent.URL, "odd": "file:///etc/passwd"}[r.PathValue("board")]
		json.NewEncoder(w).Encode(map[string]any{"url": at, "ticket": "ticket of " + r.PathValue("board"), "resumable": true, "host_keys": []string{"ssh-ed25519 AAAA"}})
	})
	mux.HandleFunc(rtunnel.Path, echoStream(t, "cloud"))

	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cloud.Certificate().Raw})
	client, err := apiclient.New(apiclient.Config{URL: cloud.URL, CA: string(ca)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p, err := newLocalProxy(client)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() { cancel(); <-ended }()

	jar, _ := cookiejar.New(nil)
	hc := &http.Client{Jar: jar, Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	self := "http://" + p.host
	if res, err := hc.Get(p.enter()); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	} else {
		res.Body.Close()
	}
	grant := func(board string) (at, ticket string) {
		t.Helper()
		res, err := hc.Post(self+"/v1/boards/"+board+"/streams", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var g struct {
			URL       string   `json:"url"`
			Ticket    string   `json:"ticket"`
			Resumable bool     `json:"resumable"`
			HostKeys  []string `json:"host_keys"`
		}
		if err := json.NewDecoder(res.Body).Decode(&g); err != nil || !g.Resumable || len(g.HostKeys) != 1 {
			t.Fatalf("%+v, %v", g, err)
		}
		return g.URL, g.Ticket
	}
	open := func(ticket string) string {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, self+rtunnel.Path, nil)
		req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Origin": {self},
			"Sec-Websocket-Protocol": {rtunnel.SubprotocolStream + ", " + rtunnel.TicketPrefix + base64.RawURLEncoding.EncodeToString([]byte(ticket))}}
		res, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusSwitchingProtocols {
			return res.Status
		}
		fmt.Fprintln(res.Body.(io.Writer), "ping")
		lines := bufio.NewScanner(res.Body)
		var said []string
		for len(said) < 2 && lines.Scan() {
			said = append(said, lines.Text())
		}
		return strings.Join(said, ", ")
	}
	for _, board := range []string{"near", "far"} {
		at, ticket := grant(board)
		if at != self {
			t.Errorf("%s: the page is sent to %s", board, at)
		}
		want := map[string]string{"near": "cloud", "far": "agent"}[board] + " " + self + ", ping"
		if got := open(ticket); got != want {
			t.Errorf("%s: %q, want %q", board, got, want)
		}
	}
	if got, want := open("ticket of far"), "cloud "+self+", ping"; got != want { // it was used, and the cloud says so
		t.Errorf("again: %q, want %q", got, want)
	}
	if at, _ := grant("odd"); at != "file:///etc/passwd" || len(p.streams.agents) != 0 {
		t.Errorf("%s, %v", at, p.streams.agents)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cookies["of-agent"] != "" || p.cookies["of-cloud"] != "1" {
		t.Errorf("cookies are kept: %v", p.cookies)
	}
	u, _ := url.Parse(self)
	for _, c := range jar.Cookies(u) {
		if strings.HasPrefix(c.Name, "of-") {
			t.Errorf("the browser gets %s", c)
		}
	}
}
