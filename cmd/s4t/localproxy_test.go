package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stack4things/s4t/apiclient"
)

// localCloud is a cloud below a path whose certificate only ca knows: it makes codes, sets and
// tells cookies, and echoes what comes after an upgrade.
func localCloud(t *testing.T) (url, ca string) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /s4t/v1/session/code", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"code": "once"})
	})
	mux.HandleFunc("GET /s4t/", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-s4t", Value: "of-the-cloud", Path: "/", Secure: true})
		fmt.Fprintf(w, "%s cookies=%q", r.URL.Path, r.Header.Get("Cookie"))
	})
	mux.HandleFunc("GET /s4t/rtunnel", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
		io.Copy(conn, rw)
	})
	srv := httptest.NewTLSServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL + "/s4t", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
}

// localRun is a proxy that runs; door is the path that gives its cookie.
func localRun(t *testing.T, url, ca string) (p *localProxy, door string, stop func() error) {
	t.Helper()
	client, err := apiclient.New(apiclient.Config{URL: url, CA: ca, Token: "member"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if p, err = newLocalProxy(client); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	var err2 error
	once := false
	stop = func() error {
		if !once {
			once = true
			cancel()
			err2 = <-ended
		}
		return err2
	}
	t.Cleanup(func() { stop() })
	return p, strings.TrimPrefix(p.enter(), "http://"+p.host), stop
}

func localGet(t *testing.T, p *localProxy, path, host string, cookie *http.Cookie) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+p.host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	if cookie != nil {
		req.AddCookie(cookie)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestLocalProxyLetsInWhoMay(t *testing.T) {
	url, ca := localCloud(t)
	p, door, stop := localRun(t, url, ca)
	for _, tt := range []struct {
		what, path, host string
		cookie           *http.Cookie
		status           int
	}{
		{"another name that leads here", "/s4t/", "evil.example", nil, http.StatusMisdirectedRequest},
		{"the door under another name, which leaves it shut", door, "evil.example", nil, http.StatusMisdirectedRequest},
		{"no cookie", "/s4t/", "", nil, http.StatusForbidden},
		{"a guessed cookie", "/s4t/", "", &http.Cookie{Name: p.cookieName(), Value: "guess"}, http.StatusForbidden},
		{"a guessed door", doorPrefix + "guess", "", nil, http.StatusForbidden},
	} {
		if res, text := localGet(t, p, tt.path, tt.host, tt.cookie); res.StatusCode != tt.status || strings.Contains(text, "cookies=") {
			t.Errorf("%s: %s %s", tt.what, res.Status, text)
		}
	}
	res, page := localGet(t, p, door, "", nil)
	if res.StatusCode != 200 || len(res.Cookies()) != 1 || !strings.Contains(page, `location.replace("/s4t/"+location.hash)`) || !strings.Contains(res.Header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("the door: %s %s", res.Status, page)
	}
	own := res.Cookies()[0]
	if !own.HttpOnly || own.SameSite != http.SameSiteStrictMode {
		t.Errorf("the cookie is %+v", own)
	}
	if res, _ := localGet(t, p, door, "", nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("the door opens twice: %s", res.Status)
	}
	// The cloud's cookie stays at the proxy, and the proxy's does not reach the cloud.
	for i, want := range []string{`/s4t/boards cookies=""`, `/s4t/boards cookies="__Host-s4t=of-the-cloud"`} {
		if res, text := localGet(t, p, "/s4t/boards", "", own); res.StatusCode != 200 || text != want || len(res.Cookies()) != 0 {
			t.Errorf("request %d: %s %s %v", i, res.Status, text, res.Cookies())
		}
	}

	conn, err := net.Dial("tcp", p.host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /s4t/rtunnel HTTP/1.1\r\nHost: %s\r\nCookie: %s=%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", p.host, own.Name, own.Value)
	r := bufio.NewReader(conn)
	switched, err := http.ReadResponse(r, nil)
	if err != nil || switched.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("a WebSocket: %v, %v", switched, err)
	}
	io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("a WebSocket echoes %q, %v", line, err)
	}
	conn.Close()
	if err := stop(); err != context.Canceled {
		t.Errorf("it ends with %v", err)
	}
	if conn, err := net.Dial("tcp", p.host); err == nil {
		conn.Close()
		t.Error("it listens after its end")
	}
}

func TestLocalProxyKnowsTheCloud(t *testing.T) {
	url, _ := localCloud(t)
	p, door, _ := localRun(t, url, "") // the system does not know its CA
	res, _ := localGet(t, p, door, "", nil)
	if res, text := localGet(t, p, "/s4t/", "", res.Cookies()[0]); res.StatusCode != http.StatusBadGateway || strings.Contains(text, "cookies=") {
		t.Errorf("a cloud with another certificate: %s %s", res.Status, text)
	}
}

func TestDashboardPrintsALinkThatWorksOnce(t *testing.T) {
	url, ca := localCloud(t)
	client, err := apiclient.New(apiclient.Config{URL: url, CA: ca, Token: "member"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	code, err := client.CreateLoginCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: io.Discard}
	ctx, cancel := context.WithCancel(t.Context())
	err = serveLocally(ctx, client, func(at string) (func(), error) {
		defer cancel()
		return a.show(ctx, at+"#login="+code.Code, true)
	})
	if err != nil || !strings.HasPrefix(out.String(), "http://127.0.0.1:") || !strings.HasSuffix(out.String(), "#login=once\n") || !strings.Contains(out.String(), doorPrefix) {
		t.Errorf("it prints %q, and ends with %v", out.String(), err)
	}
}
