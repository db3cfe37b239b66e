package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/bench/proc"
	"github.com/stack4things/s4t/lightningrod"
)

// boardsResult is what many boards cost the cloud.
type boardsResult struct {
	Boards      int
	JoinSeconds float64 // all of them enrolled and online
	CloudMiB    float64 // iotronic, resident, at rest
	BackSeconds float64 // from `ready` of a restarted iotronic until the last board is online again
	Err         error
}

// measureBoards enrols n boards, all of them real engines in one process, and
// restarts the cloud under them.
func measureBoards(ctx context.Context, bin, self string, n int) (r boardsResult) {
	r.Boards = n
	f, err := newField(ctx, bin, true, 0)
	if err != nil {
		r.Err = err
		return r
	}
	defer f.lab.Close()
	api, err := adminClient(f)
	if err != nil {
		r.Err = err
		return r
	}
	var joins strings.Builder
	for i := range n {
		b, err := api.CreateBoard(ctx, apiclient.BoardCreate{Name: "sim" + strconv.Itoa(i)})
		if err != nil {
			r.Err = err
			return r
		}
		fmt.Fprintln(&joins, b.Join)
	}
	file := filepath.Join(f.lab.Dir, "joins")
	if r.Err = os.WriteFile(file, []byte(joins.String()), 0o600); r.Err != nil {
		return r
	}
	start := time.Now()
	sim, err := f.lab.Cloud.Start("boards", nil, self, "-boards", file)
	if err == nil {
		_, err = sim.WaitLine("all ready", 0, 120*time.Second)
	}
	if err != nil {
		r.Err = err
		return r
	}
	r.JoinSeconds = time.Since(start).Seconds()
	time.Sleep(10 * time.Second) // at rest
	r.CloudMiB = proc.RSS(f.Process.Pid())
	lines := sim.Lines()
	f.Process.Kill()
	if r.Err = f.Run(); r.Err != nil {
		return r
	}
	start = time.Now()
	if _, r.Err = sim.WaitLine("all ready", lines, 120*time.Second); r.Err != nil {
		return r
	}
	r.BackSeconds = time.Since(start).Seconds()
	return r
}

// simulate runs a board for each join string of a file, and prints a line each
// time all of them have become ready once more.
func simulate(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	joins := strings.Fields(string(text))
	var ready atomic.Int64
	var wg sync.WaitGroup
	admit := make(chan struct{}, 32) // boards that enrol at the same time
	for i, join := range joins {
		state := filepath.Join(filepath.Dir(file), "state", strconv.Itoa(i))
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
		wg.Go(func() {
			admit <- struct{}{}
			_, err := lightningrod.Join(ctx, lightningrod.JoinConfig{State: state, Join: join})
			<-admit
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			e, err := lightningrod.New(lightningrod.Config{State: state, Ready: func(string, int64) {
				if ready.Add(1)%int64(len(joins)) == 0 {
					fmt.Println("all ready")
				}
			}})
			if err == nil {
				err = e.Run(ctx)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}
	wg.Wait()
	return nil
}
