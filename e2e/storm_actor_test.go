package e2e

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
)

// deed is one thing of a storm, done again and again by many at once.
type deed struct {
	many int
	do   func(ctx context.Context) error
}

// storm does all deeds for ever. Who is refused comes again after 20 ms: no
// honest client would.
func storm(deeds ...deed) {
	var running sync.WaitGroup
	for _, d := range deeds {
		for range d.many {
			running.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					if d.do(ctx) != nil {
						time.Sleep(20 * time.Millisecond)
					}
					cancel()
				}
			})
		}
	}
	running.Wait()
}

// strangerStorm has no token and no key.
func strangerStorm(c stormConfig) {
	h2 := func() *http.Client {
		tr := &http.Transport{TLSClientConfig: strange(), ForceAttemptHTTP2: true}
		tr.TLSClientConfig.NextProtos = []string{"h2"}
		return &http.Client{Transport: tr}
	}
	unfinished, quick := []*http.Client{h2(), h2(), h2(), h2()}, h2()
	post := func(ctx context.Context, client *http.Client, body io.Reader) error {
		req, err := http.NewRequestWithContext(ctx, "POST", c.URL+"/v1/login", body)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", res.Status)
		}
		return nil
	}
	login := func(user string) func(context.Context) error {
		return func(ctx context.Context) error {
			name := user
			if name == "" {
				name = "u" + s4t.NewID()[:8]
			}
			return post(ctx, quick, strings.NewReader(fmt.Sprintf(`{"user":%q,"password":"not the password at all"}`, name)))
		}
	}
	dialer, err := strangeDialer()
	if err != nil {
		panic(err)
	}
	_, key, _ := ed25519.GenerateKey(nil)
	storm(
		deed{480, func(ctx context.Context) error { // a body that never ends
			r, w := io.Pipe()
			stop := context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
			defer stop()
			go func() {
				io.WriteString(w, `{"user":"`)
				for _, err := w.Write(make([]byte, 64<<10)); err == nil; _, err = w.Write([]byte{'x'}) {
					time.Sleep(time.Second)
				}
			}()
			return post(ctx, unfinished[rand.IntN(len(unfinished))], r)
		}},
		deed{50, login("")},
		deed{10, login("admin")},
		deed{50, func(ctx context.Context) error { // no token
			req, err := http.NewRequestWithContext(ctx, "GET", c.URL+"/v1/boards", nil)
			if err != nil {
				return err
			}
			req.Header.Set("Authorization", "Bearer s4t_"+s4t.NewID())
			res, err := quick.Do(req)
			if err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			return err
		}},
		deed{32, func(ctx context.Context) error { // a wrong code
			conn, err := dialer.Dial(ctx, c.URL, wamp.Path, wamp.Subprotocol, "")
			if err != nil {
				return err
			}
			defer conn.Close()
			_, _, err = wamp.Join(ctx, wamp.Over(conn), wamp.JoinConfig{Key: key, Code: "wrong-" + s4t.NewID()})
			return err
		}},
		deed{32, func(ctx context.Context) error { // no ticket
			conn, err := dialer.Dial(ctx, c.URL, rtunnel.Path, rtunnel.SubprotocolStream, "none")
			if err == nil {
				conn.Close()
			}
			return err
		}},
		deed{3000, func(ctx context.Context) error { // a public port, and nothing said
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", netlab.CloudAddr, c.PublicPort))
			if err != nil {
				return err
			}
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			if n, _ := io.Copy(io.Discard, conn); n == 0 {
				return io.EOF
			}
			return nil
		}},
	)
}

// readerStorm has a token that may only read, and a board that never answers.
func readerStorm(c stormConfig) {
	client := actor(c)
	silent := make(chan struct{})
	go holdSessions(c, enrolled(c), 1, func(ctx context.Context, s *wamp.Session, id s4t.BoardID) error {
		err := s.Register(ctx, wamp.BoardURI(id, wamp.Doctor), func(context.Context, string) (string, error) {
			<-silent
			return "", nil
		})
		return err
	})
	storm(
		deed{600, func(ctx context.Context) error { _, err := client.DoctorBoard(ctx, c.Board); return err }},
		deed{32, func(ctx context.Context) error { _, err := client.Boards(ctx, nil, ""); return err }},
		deed{16, func(ctx context.Context) error { _, err := client.Audit(ctx, "", time.Hour); return err }},
		deed{16, func(ctx context.Context) error { _, err := client.Board(ctx, "none-"+s4t.NewID()[:8]); return err }},
		deed{400, func(ctx context.Context) error { // a stream that nobody reads
			s, err := client.Events(ctx, apiclient.EventsOptions{After: 1, Once: true})
			if err != nil {
				return err
			}
			defer s.Close()
			<-ctx.Done()
			return nil
		}},
		deed{100, func(ctx context.Context) error {
			_, err := client.WaitBoard(ctx, c.Board, s4t.BoardOffline)
			return err
		}},
		deed{16, func(ctx context.Context) error { // what a reader may not
			_, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: "x"})
			return err
		}},
	)
}

// memberStorm makes as much as it may and takes it away again.
func memberStorm(c stormConfig) {
	client := actor(c)
	long := strings.Repeat("x", 240)
	labels := map[string]string{}
	for i := range 15 {
		labels[fmt.Sprintf("label%d", i)] = long
	}
	storm(
		deed{16, func(ctx context.Context) error {
			name := "b" + s4t.NewID()[:8]
			if _, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: name, Labels: labels}); err != nil {
				return err
			}
			if rand.IntN(4) == 0 {
				return client.DeleteBoard(ctx, name)
			}
			return nil
		}},
		deed{8, func(ctx context.Context) error {
			boards, err := client.Boards(ctx, nil, "")
			if err != nil {
				return err
			}
			var names []string
			for _, b := range boards[:min(len(boards), 250)] {
				names = append(names, b.Name)
			}
			name := "n" + s4t.NewID()[:8]
			if _, err := client.CreateBridge(ctx, apiclient.BridgeCreate{Name: name, Boards: names}); err != nil {
				return err
			}
			if rand.IntN(2) == 0 {
				_, err = client.DeleteBridge(ctx, name)
			}
			return err
		}},
		deed{16, func(ctx context.Context) error {
			boards, err := client.Boards(ctx, nil, "")
			if err != nil || len(boards) == 0 {
				return err
			}
			_, err = client.ExposeService(ctx, boards[rand.IntN(len(boards))].Name, apiclient.ServiceExpose{Service: fmt.Sprint(1 + rand.IntN(65535))})
			return err
		}},
		deed{8, func(ctx context.Context) error {
			_, err := client.CreateToken(ctx, apiclient.TokenCreate{Expires: "1h"})
			return err
		}},
		deed{64, func(ctx context.Context) error {
			_, err := client.OpenStream(ctx, c.Board, apiclient.StreamOpen{TCPPort: 22})
			return err
		}},
		deed{200, func(ctx context.Context) error {
			s, err := client.Events(ctx, apiclient.EventsOptions{After: 1, Once: true})
			if err != nil {
				return err
			}
			defer s.Close()
			for range s.All() {
			}
			return s.Err()
		}},
	)
}

// boardStorm has the key of a board.
func boardStorm(c stormConfig) {
	id := enrolled(c)
	go holdSessions(c, id, 64, nil) // and never says `connected`
	holdSessions(c, id, 64, func(ctx context.Context, s *wamp.Session, id s4t.BoardID) error {
		if _, err := s.Call(ctx, wamp.BoardURI(id, wamp.Connected), `{"instance":"`+s4t.NewID()+`"}`); err != nil {
			return err
		}
		for {
			for _, call := range []struct{ uri, arg string }{
				{wamp.Ticket, `{"purpose":"stream","count":16}`},
				{wamp.Report, `{"generation":1,"resources":[]}`},
				{wamp.Report, `{"generation":1` + strings.Repeat(" ", 900<<10) + `}`},
				{wamp.Desired, `{}`},
				{"cloud.none", `{}`},
			} {
				if _, err := s.Call(ctx, wamp.BoardURI(id, call.uri), call.arg); s4t.KindOf(err) == s4t.Unavailable {
					return err
				}
			}
		}
	})
}

// enrolled joins as the storm's board.
func enrolled(c stormConfig) lightningrod.Identity {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := lightningrod.Join(ctx, lightningrod.JoinConfig{State: c.State, Join: c.Join})
	if err != nil {
		panic(err)
	}
	return id
}

// holdSessions opens n sessions with the board's own key, again when one ends.
func holdSessions(c stormConfig, id lightningrod.Identity, n int, then func(ctx context.Context, s *wamp.Session, id s4t.BoardID) error) {
	dialer, err := dial.New(dial.Config{CA: []byte(id.CA)})
	if err != nil {
		panic(err)
	}
	storm(deed{n, func(ctx context.Context) error {
		conn, err := dialer.Dial(ctx, c.URL, wamp.Path, wamp.Subprotocol, "")
		if err != nil {
			return err
		}
		defer conn.Close()
		s, _, err := wamp.Join(ctx, wamp.Over(conn), wamp.JoinConfig{Board: id.Board, Key: id.PrivateKey()})
		if err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		if then != nil {
			if err := then(ctx, s, id.Board); err != nil {
				s.Close()
			}
		}
		return <-ended
	}})
}

// actor speaks to the cloud with the token of the storm.
func actor(c stormConfig) *apiclient.Client {
	client, err := apiclient.New(apiclient.Config{URL: c.URL, CA: c.CA, Token: c.Token})
	if err != nil {
		panic(err)
	}
	return client
}
