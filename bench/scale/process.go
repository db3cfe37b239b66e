package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/bench/proc"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/internal/rabbittest"
)

// cluster is a cloud: one process, or one with everything but the WAMP agents,
// which are processes of their own and share RabbitMQ and PostgreSQL with it.
type cluster struct {
	main   *iotronic
	agents []*iotronic // none: the main one is the WAMP agent
	data   string      // directory of the main one
	driver string      // of the database, for [enrol]
	source string
}

// newCluster makes one whose processes are not started.
func newCluster(ctx context.Context, o options, program, dir string) (*cluster, error) {
	c := &cluster{data: filepath.Join(dir, "data")}
	c.driver, c.source = "sqlite", "file:"+filepath.Join(c.data, "iotronic.db")
	metrics, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if o.agents == 0 {
		c.main = &iotronic{program: program, log: o.log, metrics: metrics, args: []string{"--data", c.data}}
		return c, nil
	}
	queue, err := rabbittest.Server()
	if err != nil {
		return nil, err
	}
	if c.source, err = database(ctx); err != nil {
		return nil, err
	}
	c.driver = "pgx"
	c.main = &iotronic{program: program, log: o.log, metrics: metrics, args: []string{"--role", "api,conductor,tunnel-agent", "--name", "main", "--data", c.data, "--queue", queue, "--database", c.source}}
	for i := range o.agents {
		c.agents = append(c.agents, &iotronic{program: program, log: o.log, args: []string{"--role", "wamp-agent", "--name", fmt.Sprintf("w%d", i), "--queue", queue}})
	}
	return c, nil
}

// database makes one in the PostgreSQL of this program, and returns its URL.
func database(ctx context.Context) (string, error) {
	server, err := pgtest.Server()
	if err != nil {
		return "", err
	}
	db, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer db.Close(ctx)
	name := "scale_" + strings.ReplaceAll(s4t.NewID(), "-", "")
	if _, err := db.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return strings.Replace(server, "/postgres?", "/"+name+"?", 1), nil
}

// all are its processes.
func (c *cluster) all() []*iotronic { return append([]*iotronic{c.main}, c.agents...) }

// start starts all that do not run, and returns after how many seconds all were
// ready.
func (c *cluster) start(ctx context.Context, limit time.Duration) (float64, error) {
	began := time.Now()
	if err := c.main.start(ctx, limit); err != nil { // it makes the CA
		return 0, err
	}
	errs := make([]error, len(c.agents))
	var starting sync.WaitGroup
	for i, a := range c.agents {
		starting.Go(func() { errs[i] = a.start(ctx, limit) })
	}
	starting.Wait()
	return time.Since(began).Seconds(), errors.Join(errs...)
}

// kill ends all as kill -9 does.
func (c *cluster) kill() {
	for _, p := range c.all() {
		p.kill()
	}
}

// urls are where boards dial.
func (c *cluster) urls() []string {
	if len(c.agents) == 0 {
		return []string{c.main.url}
	}
	var urls []string
	for _, a := range c.agents {
		urls = append(urls, a.url)
	}
	return urls
}

// cpu is what its processes have used, in seconds.
func (c *cluster) cpu() (seconds float64) {
	for _, p := range c.all() {
		seconds += proc.CPU(p.pid())
	}
	return seconds
}

// rss is their resident memory, in MiB.
func (c *cluster) rss() (mib float64) {
	for _, p := range c.all() {
		mib += proc.RSS(p.pid())
	}
	return mib
}

// written is how many transactions of its conductor wrote, and their rows; of a build that does not
// tell 0.
func (c *cluster) written() (commits, rows float64) {
	resp, err := http.Get("http://" + c.main.metrics + "/metrics")
	if err != nil {
		return 0, 0
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		fmt.Sscanf(lines.Text(), "s4t_database_commits_total %g", &commits)
		fmt.Sscanf(lines.Text(), "s4t_database_rows_total %g", &rows)
	}
	return commits, rows
}

// freeAddress is one that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// iotronic is a process of a cloud.
type iotronic struct {
	program, log string
	args         []string // of serve
	url          string   // known from its first start on, and the same after the next
	metrics      string   // address of its operator's port; empty: none
	cmd          *exec.Cmd
	ended        chan struct{}
}

// pid is 0 while it does not run.
func (p *iotronic) pid() int {
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// start returns when it says that it is ready. It does nothing where it runs.
func (p *iotronic) start(ctx context.Context, limit time.Duration) error {
	if p.cmd != nil {
		return nil
	}
	listen := "127.0.0.1:0"
	if p.url != "" {
		listen = strings.TrimPrefix(p.url, "https://")
	}
	level := p.log
	if level == "" {
		level = "error"
	}
	args := append([]string{"serve", "--listen", listen, "--log-level", level}, p.args...)
	if p.metrics != "" {
		args = append(args, "--metrics", p.metrics)
	}
	cmd := exec.CommandContext(ctx, p.program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	ready := make(chan string, 1)
	go func(ended chan struct{}) {
		defer close(ended)
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
			}
		}
		cmd.Wait()
	}(p.ended)
	select {
	case url, ok := <-ready:
		if !ok {
			return errors.New("iotronic ended")
		}
		p.url = url
		return nil
	case <-time.After(limit):
		return errors.New("iotronic is not ready")
	}
}

// kill ends it as kill -9 does.
func (p *iotronic) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}
