package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/stack4things/s4t/apiclient"
)

// userEvery is the time between two requests of a user: one lists boards over a
// connection that is kept, the next shows one over a connection of its own, as a
// command line does.
const userEvery = 100 * time.Millisecond

// user asks the cloud, whatever else happens, at a fixed pace: a slow answer does
// not make the next request later.
type user struct {
	config apiclient.Config
	kept   *apiclient.Client
	boards int

	mu     sync.Mutex // guards the fields below
	took   []time.Duration
	failed []error
}

// admin is what a cloud gave its first user.
func (c *cluster) admin() (a struct{ Token, CA string }, err error) {
	text, err := os.ReadFile(filepath.Join(c.data, "admin.toml"))
	if err != nil {
		return a, err
	}
	var f struct {
		Current  string
		Contexts map[string]struct{ Token, CA string }
	}
	if err := toml.Unmarshal(text, &f); err != nil {
		return a, err
	}
	return f.Contexts[f.Current], nil
}

// newUser is the admin of a cloud.
func newUser(c *cluster, boards int) (*user, error) {
	a, err := c.admin()
	if err != nil {
		return nil, err
	}
	u := &user{config: apiclient.Config{URL: c.main.url, Token: a.Token, CA: a.CA}, boards: boards}
	u.kept, err = apiclient.New(u.config)
	return u, err
}

// run asks until ctx ends, and returns when all is answered.
func (u *user) run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	tick := time.NewTicker(userEvery)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case due := <-tick.C:
			asking.Go(func() {
				err := u.ask(context.WithoutCancel(ctx), i)
				u.mu.Lock()
				defer u.mu.Unlock()
				if u.took = append(u.took, time.Since(due)); err != nil {
					u.failed = append(u.failed, err)
				}
			})
		}
	}
}

// ask makes the i-th request.
func (u *user) ask(ctx context.Context, i int) error {
	if i%2 == 0 {
		_, err := u.kept.BoardList(nil, "", "").First(ctx, 20)
		return err
	}
	c, err := apiclient.New(u.config)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Board(ctx, fmt.Sprintf("fleet%d", i%u.boards))
	return err
}

// during has a user ask while fn runs, and returns the 50th and 99th percentile of
// how long answers took, in ms, and what failed.
func (c *cluster) during(boards int, fn func()) (p50, p99 float64, failed []error, err error) {
	u, err := newUser(c, boards)
	if err != nil {
		return 0, 0, nil, err
	}
	defer u.kept.Close()
	ctx, stop := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() { u.run(ctx) })
	fn()
	stop()
	asking.Wait()
	slices.Sort(u.took)
	at := func(part float64) float64 {
		if len(u.took) == 0 {
			return 0
		}
		return float64(u.took[int(part*float64(len(u.took)-1))].Microseconds()) / 1000
	}
	return at(0.5), at(0.99), u.failed, nil
}
