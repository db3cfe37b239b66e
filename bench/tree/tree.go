package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
)

// Boards of the tree, and pins of each.
const treeBoards, treePins = 1000, 8

// still is a tree that does not change.
type still struct{ tree pinfs.Tree }

func (s *still) Tree() pinfs.Tree         { return s.tree }
func (s *still) Changed() <-chan struct{} { return nil }

func (s *still) Open(board, pin string, by pinfs.Holder) pinfs.Pin { panic("no file is opened") }

func (s *still) Set(ctx context.Context, board, pin, key, value string, by pinfs.Holder) error {
	return errors.ErrUnsupported
}

// serveTree serves the tree until standard input ends.
func serveTree(ctx context.Context, dir string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	list := make([]pinfs.Board, treeBoards)
	for i := range list {
		list[i] = pinfs.Board{Name: fmt.Sprintf("board-%04d", i), Online: true, Pins: make([]pinfs.Node, treePins)}
		for j := range list[i].Pins {
			list[i].Pins[j].Pin = s4t.Pin{Name: fmt.Sprintf("gpio/gpiochip0/%d", j), Driver: "gpio", Device: "gpiochip0", Kind: s4t.PinDigital, Direction: s4t.PinIn}
		}
	}
	tree, err := pinfs.Mount(pinfs.Config{Dir: dir, Source: &still{pinfs.Tree{Revision: 1, Boards: list}}})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	fmt.Println("ready")
	return tree.Serve(ctx)
}

// what is measured, in this order: a program, its arguments, and the target.
var commands = []struct{ says, target, program, flag string }{
	{"`ls`", "20 ms", "ls", ""},
	{"`ls -l`", "", "ls", "-l"},
	{"`find`, first", "1,000 ms", "find", ""},
	{"`find`, again", "400 ms", "find", ""},
	{"`ls -lR`", "", "ls", "-lR"},
}

// measureTree lists a new mount in each round.
func measureTree(ctx context.Context, p *page) error {
	took := make([][]float64, len(commands))
	var before, more []float64
	nodes := 0
	for range p.rounds {
		b, a, n, err := treeRound(ctx, took)
		if err != nil {
			return err
		}
		before, more, nodes = append(before, b), append(more, a-b), n
	}
	p.line("\n## The tree of many boards\n")
	p.line("%d boards with %d pins each: %d nodes. Each round is a new mount.\n", treeBoards, treePins, nodes)
	p.line("| measure | figure | target |\n|---|---|---|")
	for i, c := range commands {
		p.line("| %s | %.0f ms | %s |", c.says, median(took[i]), c.target)
	}
	p.line("| resident before | %.1f MB | |", median(before))
	p.line("| more after `find` | %.1f MB | 12 MB |", median(more))
	return nil
}

// treeRound measures one mount: it adds to took, and returns what is resident
// before and after find, in MB, and how many nodes that saw.
func treeRound(ctx context.Context, took [][]float64) (before, after float64, nodes int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, 0, err
	}
	tmp, err := os.MkdirTemp("", "s4t-bench-pins-")
	if err != nil {
		return 0, 0, 0, err
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, "io")
	server := exec.CommandContext(ctx, self, "-serve-tree", dir)
	server.Stderr = os.Stderr
	in, err := server.StdinPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	out, err := server.StdoutPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	if err := server.Start(); err != nil {
		return 0, 0, 0, err
	}
	defer func() {
		in.Close()
		if e := server.Wait(); err == nil {
			err = e
		}
	}()
	if _, err := out.Read(make([]byte, len("ready\n"))); err != nil {
		return 0, 0, 0, fmt.Errorf("the tree is not served: %w", err)
	}
	if before, err = resident(server.Process.Pid); err != nil {
		return 0, 0, 0, err
	}
	for i, c := range commands {
		args := []string{dir}
		if c.flag != "" {
			args = []string{c.flag, dir}
		}
		begin := time.Now()
		list, err := exec.CommandContext(ctx, c.program, args...).Output()
		if err != nil {
			return 0, 0, 0, fmt.Errorf("%s: %w", c.program, err)
		}
		took[i] = append(took[i], float64(time.Since(begin).Microseconds())/1000)
		if c.program == "find" {
			nodes = bytes.Count(list, []byte("\n"))
			if after, err = resident(server.Process.Pid); err != nil {
				return 0, 0, 0, err
			}
		}
	}
	return before, after, nodes, nil
}

// resident is the memory of a process, in MB.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, err
	}
	return kib * 1024 / 1e6, nil
}
