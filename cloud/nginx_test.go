package cloud_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// nginxConf is the configuration in docs/operators.md, without TLS.
const nginxConf = `daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 1;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
	server {
		listen 127.0.0.1:%[2]s;
		location /s4t/ {
			proxy_pass http://%[3]s%[4]s;
			proxy_http_version 1.1;
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_read_timeout 1h;
		}
	}
}
`

// TestBehindNginxBelowAPath has a cloud behind a real nginx, which has put it below a path.
func TestBehindNginxBelowAPath(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		if os.Getenv("S4T_NO_SKIPS") != "" {
			t.Fatal("there is no nginx, and S4T_NO_SKIPS is set: scripts/deps test")
		}
		t.Skip("there is no nginx: scripts/deps test")
	}
	for _, tt := range []struct{ name, pass string }{{"the path is left", ""}, {"the path is taken off", "/"}} {
		t.Run(tt.name, func(t *testing.T) { behindNginx(t, nginx, tt.pass) })
	}
}

func behindNginx(t *testing.T, nginx, pass string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	front, back := freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(front)
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(nginxConf, dir, port, back, pass)), 0o600); err != nil {
		t.Fatal(err)
	}
	running, end := context.WithCancel(ctx)
	proxy := exec.CommandContext(running, nginx, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	proxy.Cancel = func() error { return proxy.Process.Signal(os.Interrupt) } // it ends its workers
	proxy.WaitDelay = time.Minute
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { end(); proxy.Wait() }()

	url, token := "http://"+front+"/s4t", ""
	c, err := cloud.New(cloud.Config{
		Roles: cloud.AllRoles(), Data: dir, Listen: back, URL: url, Database: "sqlite:" + filepath.Join(dir, "s4t.db"), TLS: cloud.TLS{Off: true},
		Bootstrap: func(ctx context.Context, id *identity.Identity, told string, _ wire.Trust) error {
			if told != url {
				t.Errorf("contexts have the URL %s, not %s", told, url)
			}
			_, err := id.Bootstrap(ctx, func(f identity.First) error { token = f.Token.Secret; return nil })
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	serving, stop := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.Run(serving, func() { close(ready) }) }()
	defer func() { stop(); <-ended }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	for { // nginx has no way to say that it listens
		conn, err := net.Dial("tcp", front)
		if err == nil {
			conn.Close()
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}

	client, err := apiclient.New(apiclient.Config{URL: url, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	board, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: "kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	if j, err := s4t.ParseJoin(board.Join); err != nil || j.URLs[0] != url {
		t.Errorf("the join string has %v, %v", j.URLs, err)
	}
	events, err := client.Events(ctx, apiclient.EventsOptions{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "kitchen")
	if _, err := lightningrod.Join(ctx, lightningrod.JoinConfig{State: state, Join: board.Join}); err != nil {
		t.Fatal(err)
	}
	rod, err := lightningrod.New(lightningrod.Config{State: state, Devices: &lightningrod.Devices{
		Capabilities: func() link.Capabilities { return link.Capabilities{} },
		Apply:        func([]vnet.Op) (link.Outcome, error) { return link.Outcome{}, nil },
		Sweep:        func(func(string) bool) error { return nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	boardRuns, boardStops := context.WithCancel(ctx)
	boardEnded := make(chan struct{})
	go func() { rod.Run(boardRuns); close(boardEnded) }()
	defer func() { boardStops(); <-boardEnded }()
	for e := range events.All() { // as it happens, not when a buffer is full
		if e.Kind == "board.online" {
			break
		}
	}
	events.Close()
	board, err = client.Board(ctx, "kitchen")
	if err != nil || board.Status != s4t.BoardOnline || board.Info.PublicAddress != "127.0.0.1" {
		t.Fatalf("%+v, %v", board, err)
	}

	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		if conn, err := echo.Accept(); err == nil {
			io.Copy(conn, conn)
			conn.Close()
		}
	}()
	grant, err := client.OpenStream(ctx, "kitchen", apiclient.StreamOpen{TCPPort: echo.Addr().(*net.TCPAddr).Port})
	if err != nil {
		t.Fatal(err)
	}
	dialer, err := dial.New(dial.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := stream.Dial(ctx, dialer, grant.URL, grant.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.WriteString(s, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(s).ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("the stream says %q, %v", line, err)
	}

	for _, path := range []string{"/", "/boards/kitchen"} {
		if res, page := ask(t, "GET", url+path, nil, ""); res.StatusCode != 200 || !strings.Contains(page, `<base href="/s4t/">`) {
			t.Errorf("%s: %s %.200s", path, res.Status, page)
		}
	}
	if res, _ := ask(t, "GET", url+"/a/index.js", nil, ""); res.StatusCode != 200 {
		t.Errorf("the script: %s", res.Status)
	}
	if _, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: "attic"}); err != nil {
		t.Fatal(err)
	}
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	if res, _ := ask(t, "GET", url+"/v1/boards?limit=1", bearer, ""); !strings.HasPrefix(res.Header.Get("Link"), "</s4t/v1/boards?") {
		t.Errorf("the next page is at %q", res.Header.Get("Link"))
	}
	if all, err := client.BoardList(nil, "", "").First(ctx, 2); err != nil || len(all) != 2 {
		t.Errorf("two boards: %d, %v", len(all), err)
	}
	code, err := client.CreateLoginCode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	res, text := ask(t, "POST", url+"/v1/session", http.Header{"Content-Type": {"application/json"}}, `{"code":"`+code.Code+`"}`)
	_, half, _ := strings.Cut(text, `"session":"`)
	half, _, _ = strings.Cut(half, `"`)
	if res.StatusCode/100 != 2 || len(res.Cookies()) != 1 || res.Cookies()[0].Path != "/" || half == "" {
		t.Fatalf("a session: %s %v", res.Status, res.Cookies())
	}
	cookie := res.Cookies()[0]
	if res, text := ask(t, "GET", url+"/v1/session", http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}, apiclient.SessionHeader: {half}}, ""); res.StatusCode != 200 {
		t.Errorf("in the session: %s %s", res.Status, text)
	}
}

// freeAddr is an address that nobody listens at.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func ask(t *testing.T, method, url string, header http.Header, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultClient.Do(req)
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
