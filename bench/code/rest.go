package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t/bench/field"
	"github.com/stack4things/s4t/bench/proc"
)

const (
	rowRest  = "lightning-rod without WASI, with a plugin and 5 commands of its owner, at rest, resident (its own / of the program's file)"
	rowWASI  = "the same with WASI"
	rowGuest = "the plugin beside it (Go), proportional share"
)

// settle is how long a board is left alone before its memory is looked at.
const settle = 30 * time.Second

// measureRest has two boards, with their tree of pins, come to rest after some commands.
func measureRest(ctx context.Context, o options, p *page) error {
	f, err := field.New(o.bin)
	if err != nil {
		return err
	}
	defer f.Close()
	commands := filepath.Join(f.Dir, "commands.d")
	if err := os.Mkdir(commands, 0o755); err != nil {
		return err
	}
	for i := range 5 {
		text := "argv = [\"/bin/echo\", \"{text}\"]\n[params]\ntype = \"object\"\nproperties.text = { type = \"string\", maxLength = 100 }\n"
		if err := os.WriteFile(filepath.Join(commands, fmt.Sprintf("say%d.toml", i)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	boards := map[string]*field.Process{}
	for name, rod := range map[string]string{"board": "nowasi/lightning-rod", "wasi": "lightning-rod"} {
		f.Rod = rod
		if boards[name], err = f.Board(ctx, name, "--io", filepath.Join(f.Dir, name+".io"), "--commands", commands); err != nil {
			return err
		}
	}
	if err := inject(ctx, f, "go", "board"); err != nil {
		return err
	}
	if err := f.Run(ctx, "s4t", "plugin", "inject", "go", "--board", "wasi", "--onboot", "--timeout", "1m"); err != nil {
		return err
	}
	for name := range boards {
		for _, command := range [][]string{{"greet", "name=Ada"}, {"say0", "text=hello"}} {
			if err := f.Run(ctx, "s4t", append([]string{"command", "run", name}, command...)...); err != nil {
				return err
			}
		}
	}
	guest, err := f.API.BoardPlugin(ctx, "board", "go")
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
	}
	for _, r := range []struct{ row, board, target string }{{rowRest, "board", "<= 12 MB"}, {rowWASI, "wasi", ""}} {
		pid, met := boards[r.board].PID(), ""
		rss := proc.Status(pid, "VmRSS:")
		if r.target != "" {
			met = verdict(rss*(1<<20) <= 12e6)
		}
		p.add(r.row, r.target, met, "%.1f MB (%.1f / %.1f)", mb(rss), mb(proc.Status(pid, "RssAnon:")), mb(proc.Status(pid, "RssFile:")))
	}
	p.add(rowGuest, "", "", "%.1f MB", mb(share(guest.PID)))
	return nil
}

// mb is in MB what is in MiB.
func mb(mib float64) float64 { return mib * (1 << 20) / 1e6 }

// share is a process's part of the memory that it has, pages that others have too divided
// among them, in MiB (proc_pid_smaps(5)).
func share(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "Pss:"); ok {
			v, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return v / 1024
		}
	}
	return 0
}
