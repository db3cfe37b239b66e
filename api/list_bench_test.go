package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// listBoards is how many boards BenchmarkBoardList has, and listDashboard what the dashboard asks
// of them (dashboard/src/lib/live.svelte.ts).
const (
	listBoards    = 10_000
	listDashboard = "?limit=2000&fields=name,project,type,labels,location,status,problems,last_seen,created_at,wamp_agent,tunnel_agent,info.version,info.arch,info.os,code_expires_at"
)

// BenchmarkBoardList is GET /v1/boards of 10,000 boards, page after page, from the request to
// the bytes of the answer, with the conductor and SQLite behind it: "whole" as everything was
// asked for once, "dashboard" as the dashboard asks. Bytes are those of all bodies, CPU that of
// the process, which has no client in it.
func BenchmarkBoardList(b *testing.B) {
	dir, q, admin := b.TempDir(), queue.New(), ""
	database := "sqlite:" + filepath.Join(dir, "s4t.db")
	c, err := cloud.New(cloud.Config{
		Roles: []cloud.Role{cloud.API, cloud.Conductor}, Data: dir, Listen: "127.0.0.1:0", BoardURLs: []string{"https://cloud.example.org:8812"}, Queue: q, Database: database,
		Bootstrap: func(ctx context.Context, id *identity.Identity, _ string, _ wire.Trust) error {
			_, err := id.Bootstrap(ctx, func(f identity.First) error { admin = f.Token.Secret; return nil })
			return err
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.Run(ctx, func() { close(ready) }) }()
	defer func() { cancel(); <-ended }()
	select {
	case <-ready:
	case err := <-ended:
		b.Fatal(err)
	}
	fillBoards(b, database)
	a, err := api.New(api.Config{Queue: q})
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct{ name, query, encoding string }{{"whole", "", ""}, {"dashboard", listDashboard, "gzip"}} {
		b.Run(way.name, func(b *testing.B) {
			read := func() (bytes, requests int) {
				for path := "/v1/boards" + way.query; path != ""; requests++ {
					r := httptest.NewRequest("GET", path, nil)
					r.Header.Set("Authorization", "Bearer "+admin)
					r.Header.Set("Accept-Encoding", way.encoding)
					w := &counted{header: http.Header{}}
					a.Handler().ServeHTTP(w, r)
					if w.status != http.StatusOK && w.status != 0 {
						b.Fatalf("%s: %d", path, w.status)
					}
					bytes += w.bytes
					path, _, _ = strings.Cut(strings.TrimPrefix(w.header.Get("Link"), "<"), ">")
				}
				return bytes, requests
			}
			read()
			began, bytes, requests := cpu(b), 0, 0
			for b.Loop() {
				n, m := read()
				bytes, requests = bytes+n, requests+m
			}
			b.ReportMetric(float64((cpu(b)-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(bytes)/float64(b.N), "body-B/op")
			b.ReportMetric(float64(requests)/float64(b.N), "requests/op")
		})
	}
}

// counted is a client that reads everything and keeps nothing.
type counted struct {
	header        http.Header
	status, bytes int
}

func (c *counted) Header() http.Header                { return c.header }
func (c *counted) WriteHeader(status int)             { c.status = status }
func (c *counted) SetReadDeadline(_ time.Time) error  { return nil }
func (c *counted) SetWriteDeadline(_ time.Time) error { return nil }
func (c *counted) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillBoards writes boards of the admin's project, as they are after their first session: with
// the keys of an sshd and some labels.
func fillBoards(b *testing.B, database string) {
	db, err := store.Open(b.Context(), store.Config{URL: database})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	err = db.Tx(b.Context(), func(tx *store.Tx) error {
		p, err := tx.Project(identity.DefaultProject)
		if err != nil {
			return err
		}
		now := time.Now()
		for i := range listBoards {
			id := s4t.BoardID(s4t.NewID())
			key := strings.Repeat(string(id)+string(id), 14)
			board := store.Board{
				Board: s4t.Board{
					ID: id, Project: p.ID, Name: fmt.Sprintf("board-%05d", i), Type: "raspberry-pi-4", Labels: map[string]string{"site": fmt.Sprintf("site-%03d", i%200), "room": fmt.Sprint(i % 7)},
					Location: &s4t.Location{Latitude: 38.19 + float64(i)/1e5, Longitude: 15.55}, Status: s4t.BoardOnline, Epoch: 3, AppliedGeneration: 4, WAMPAgent: "wamp-agent-1", TunnelAgent: "tunnel-agent-1",
					LastSeen: &now, CreatedAt: now,
					Info: s4t.BoardInfo{Version: "1.4.0", OS: "linux", Arch: "arm64", Kernel: "6.6.31+rpt-rpi-v8", Hostname: fmt.Sprintf("board-%05d", i), Networks: true, Resumes: true,
						HostKeys: []string{"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ" + key[:504], "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB" + key[:96], "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + key[:43]},
						Routes:   []string{"192.168.1.0/24"}, Resolvers: []string{"192.168.1.1"}, Trusts: []string{strings.Repeat("ab", 32)}},
				},
				PublicKey: make([]byte, 32),
			}
			for _, write := range []func(store.Board) error{tx.InsertBoard, tx.SetBoardKey, tx.SetBoardSays, tx.SetPresence} {
				if err := write(board); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
