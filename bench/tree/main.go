// Command tree measures the tree of the pins of many boards as programs see it:
// ls and find, and the memory of who serves it. It needs root, or fusermount3.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
)

func main() {
	boards := flag.Int("boards", 1000, "boards of the tree")
	pins := flag.Int("pins", 8, "pins of each")
	rounds := flag.Int("rounds", 5, "rounds, each with a new mount; medians are reported")
	serve := flag.String("serve", "", "serve the tree at this folder; for the program itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if *serve != "" {
		err = served(ctx, *serve, *boards, *pins)
	} else {
		err = measured(ctx, *boards, *pins, *rounds)
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "tree:", err)
		os.Exit(1)
	}
}

// source is a tree that does not change.
type source struct{ tree pinfs.Tree }

func (s *source) Tree() pinfs.Tree         { return s.tree }
func (s *source) Changed() <-chan struct{} { return nil }

func (s *source) Open(board, pin string, by pinfs.Holder) pinfs.Pin { panic("no file is opened") }

func (s *source) Set(ctx context.Context, board, pin, key, value string, by pinfs.Holder) error {
	return errors.ErrUnsupported
}

// served serves the tree until standard input ends.
func served(ctx context.Context, dir string, boards, pins int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	list := make([]pinfs.Board, boards)
	for i := range list {
		list[i] = pinfs.Board{Name: fmt.Sprintf("board-%04d", i), Online: true, Pins: make([]pinfs.Node, pins)}
		for j := range list[i].Pins {
			list[i].Pins[j].Pin = s4t.Pin{Name: fmt.Sprintf("gpio/gpiochip0/%d", j), Driver: "gpio", Device: "gpiochip0", Kind: s4t.PinDigital, Direction: s4t.PinIn}
		}
	}
	tree, err := pinfs.Mount(pinfs.Config{Dir: dir, Source: &source{pinfs.Tree{Revision: 1, Boards: list}}})
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

func measured(ctx context.Context, boards, pins, rounds int) error {
	took := make([][]float64, len(commands))
	var before, after []float64
	nodes := 0
	for range rounds {
		b, a, n, err := round(ctx, boards, pins, took)
		if err != nil {
			return err
		}
		before, after, nodes = append(before, b), append(after, a), n
	}
	fmt.Printf("| tree of %d boards with %d pins each, %d nodes | median | target |\n|---|---|---|\n", boards, pins, nodes)
	for i, c := range commands {
		fmt.Printf("| %s | %.0f ms | %s |\n", c.says, median(took[i]), c.target)
	}
	fmt.Printf("| resident before | %.1f MB | |\n| more after `find` | %.1f MB | 12 MB |\n", median(before), median(after)-median(before))
	return nil
}

// round measures one mount: it adds to took, and returns what is resident before
// and after it, in MB, and how many nodes find saw.
func round(ctx context.Context, boards, pins int, took [][]float64) (before, after float64, nodes int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, 0, err
	}
	tmp, err := os.MkdirTemp("", "tree")
	if err != nil {
		return 0, 0, 0, err
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, "io")
	server := exec.CommandContext(ctx, self, "-serve", dir, "-boards", strconv.Itoa(boards), "-pins", strconv.Itoa(pins))
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

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	if len(list) == 0 {
		return 0
	}
	return list[len(list)/2]
}
