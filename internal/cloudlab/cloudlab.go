// Package cloudlab runs the three programs as real processes in a netlab: the
// cloud, boards behind their NATs, and a user's command line. The end-to-end
// tests, the benchmarks and the demo stand on it.
package cloudlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/netlab"
)

// patience bounds the start of a program, on a machine however busy. How soon it should
// be there is for tests of that to say.
const patience = time.Minute

// URL of the cloud in a lab.
const URL = "https://" + netlab.CloudAddr + ":8812"

// Cloud is an `iotronic serve` in a lab.
type Cloud struct {
	Lab     *netlab.Lab
	Bin     string   // directory of the three programs
	Data    string   // data directory of iotronic
	Listen  string   // address:port
	Args    []string // more arguments of `iotronic serve`
	Process *netlab.Process
	Boards  []*Board
}

// Board is a lightning-rod in a lab.
type Board struct {
	*netlab.Board
	Name    string
	State   string // its state directory
	Env     []string
	Args    []string // more arguments of `lightning-rod run`
	Process *netlab.Process

	cloud *Cloud
}

// Start starts a cloud in the lab and waits until it is ready.
func Start(lab *netlab.Lab, bin string, args ...string) (*Cloud, error) {
	c := &Cloud{Lab: lab, Bin: bin, Data: filepath.Join(lab.Dir, "iotronic-data"), Listen: netlab.CloudAddr + ":8812", Args: args}
	return c, c.Run()
}

// Run starts iotronic (again) and waits until it is ready.
func (c *Cloud) Run() error {
	argv := append([]string{filepath.Join(c.Bin, "iotronic"), "serve", "--data", c.Data, "--listen", c.Listen}, c.Args...)
	p, err := c.Lab.Cloud.Start("iotronic", nil, argv...)
	if err != nil {
		return err
	}
	c.Process = p
	_, err = p.WaitLine("ready ", 0, patience)
	return err
}

// ContextFile is the context of the cloud's admin.
func (c *Cloud) ContextFile() string { return filepath.Join(c.Data, "admin.toml") }

// Env is the environment in which s4t finds the cloud.
func (c *Cloud) Env() []string {
	return []string{"S4T_CONTEXT_FILE=" + c.ContextFile(), "HOME=" + c.Lab.Dir, "NO_COLOR=1"}
}

// S4T runs `s4t ARGS` on the user's host and returns its standard output. The
// error holds its standard error.
func (c *Cloud) S4T(ctx context.Context, args ...string) (string, error) {
	cmd := c.Lab.User.Command(ctx, append([]string{filepath.Join(c.Bin, "s4t")}, args...)...)
	cmd.Env = append(os.Environ(), c.Env()...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("s4t %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(out), nil
}

// JSON runs `s4t ARGS -o json` and decodes what it prints into v.
func (c *Cloud) JSON(ctx context.Context, v any, args ...string) error {
	out, err := c.S4T(ctx, append(args, "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("s4t %s: read its JSON: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// AddBoard registers a board, joins it from behind the NAT of the next free
// host of the lab, and waits until it is ready.
func (c *Cloud) AddBoard(ctx context.Context, name string) (*Board, error) {
	hosts := c.Lab.Boards()
	if len(c.Boards) == len(hosts) {
		if _, err := c.Lab.AddBoard(); err != nil {
			return nil, err
		}
		hosts = c.Lab.Boards()
	}
	b := c.Adopt(&Board{Board: hosts[len(c.Boards)], Name: name, State: filepath.Join(c.Lab.Dir, name)})
	var made s4t.Board
	if err := c.JSON(ctx, &made, "board", "create", name); err != nil {
		return nil, err
	}
	if err := b.Join(made.Join); err != nil {
		return nil, err
	}
	return b, b.WaitReady(0, patience)
}

// Adopt takes a board that is joined by hand into the cloud's list.
func (c *Cloud) Adopt(b *Board) *Board {
	b.cloud = c
	c.Boards = append(c.Boards, b)
	return b
}

// Join starts `lightning-rod join JOIN`, which goes on to run.
func (b *Board) Join(join string) error {
	return b.start(append([]string{"join", join, "--state", b.State}, b.Args...)...)
}

// Run starts `lightning-rod run`.
func (b *Board) Run() error {
	return b.start(append([]string{"run", "--state", b.State}, b.Args...)...)
}

func (b *Board) start(args ...string) error {
	p, err := b.Host.Start(b.Name, b.Env, append([]string{filepath.Join(b.cloud.Bin, "lightning-rod")}, args...)...)
	if err != nil {
		return err
	}
	b.Process = p
	return nil
}

// WaitReady waits for a ready line after the first from lines.
func (b *Board) WaitReady(from int, timeout time.Duration) error {
	_, err := b.Process.WaitLine("ready "+b.Name+" ", from, timeout)
	return err
}
