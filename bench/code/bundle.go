package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/bench/field"
)

const (
	rowBundle      = "bundle of 50 MB to a board"
	rowTunnel      = "the same bytes through a reverse tunnel (an exposed service), in turn with it"
	rowBundleRatio = "the one to the other, median of the rounds"
)

// payload is what is sent, in bytes.
const payload = 50e6

// measureBundles sends bundles and the same through a reverse tunnel, in turn.
func measureBundles(ctx context.Context, o options, p *page) error {
	f, _, err := oneBoard(ctx, o)
	if err != nil {
		return err
	}
	defer f.Close()
	sink, err := newSink()
	if err != nil {
		return err
	}
	defer sink.Close()
	op, err := f.API.ExposeService(ctx, "board", apiclient.ServiceExpose{Service: strconv.Itoa(sink.Addr().(*net.TCPAddr).Port)})
	if err == nil {
		op, err = f.API.WaitOperation(ctx, op.ID, nil)
	}
	if err != nil {
		return err
	}
	if err := apiclient.Failed(op); err != nil {
		return err
	}
	services, err := f.API.Services(ctx, "board")
	if err != nil {
		return err
	}
	public := net.JoinHostPort("127.0.0.1", strconv.Itoa(services[0].PublicPort))
	var bundles, tunnels, ratios []float64
	for i := range o.rounds {
		bundle, err := sendBundle(ctx, f, i)
		if err != nil {
			return err
		}
		tunnel, err := sendTunnel(public)
		if err != nil {
			return err
		}
		fmt.Printf("  round %d: bundle %.0f Mbit/s, tunnel %.0f Mbit/s\n", i+1, bundle, tunnel)
		bundles, tunnels, ratios = append(bundles, bundle), append(tunnels, tunnel), append(ratios, bundle/tunnel)
	}
	ratio := field.Quantile(ratios, 0.5)
	p.add(rowBundle, "", "", "%.0f Mbit/s", field.Quantile(bundles, 0.5))
	p.add(rowTunnel, "", "", "%.0f Mbit/s", field.Quantile(tunnels, 0.5))
	p.add(rowBundleRatio, ">= 0.5", verdict(ratio >= 0.5), "%.2f (%.2f to %.2f)", ratio, ratios[0], ratios[len(ratios)-1])
	return nil
}

// sendBundle has the board fetch a new bundle and returns its rate in Mbit/s.
func sendBundle(ctx context.Context, f *field.Field, round int) (float64, error) {
	name := fmt.Sprintf("payload%d", round)
	dir := filepath.Join(f.Dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	content := make([]byte, payload)
	rand.Read(content)
	manifest := "name = \"payload\"\nversion = \"1.0.0\"\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"job\"\n"
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte(manifest), 0o644),
		os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\n"), 0o755),
		os.WriteFile(filepath.Join(dir, "content"), content, 0o644)); err != nil {
		return 0, err
	}
	if err := f.Run(ctx, "s4t", "plugin", "create", name, dir); err != nil {
		return 0, err
	}
	plugin, err := f.API.Plugin(ctx, name)
	if err != nil {
		return 0, err
	}
	op, err := f.API.InjectPlugin(ctx, "board", name, apiclient.PluginInject{})
	if err != nil {
		return 0, err
	}
	took, err := whole(filepath.Join(f.State("board"), "plugins", "*", "bundle.part.*"), plugin.Versions[0].Size)
	if err != nil {
		return 0, err
	}
	if op, err = f.API.WaitOperation(ctx, op.ID, nil); err == nil {
		err = apiclient.Failed(op)
	}
	if err != nil {
		return 0, err
	}
	if err := f.Run(ctx, "s4t", "plugin", "remove", name, "--board", "board"); err != nil {
		return 0, err
	}
	return float64(plugin.Versions[0].Size) * 8 / took.Seconds() / 1e6, os.RemoveAll(dir)
}

// whole waits for a file of that pattern and returns how long it took until it had that
// size. It looks every half a millisecond: nobody tells of a file's bytes, and the programs
// are to be measured as they are.
func whole(pattern string, size int64) (time.Duration, error) {
	var begun time.Time
	name := ""
	for due := time.Now().Add(time.Minute); time.Now().Before(due); time.Sleep(500 * time.Microsecond) {
		if name == "" {
			found, err := filepath.Glob(pattern)
			if err != nil {
				return 0, err
			}
			if len(found) == 0 {
				continue
			}
			name, begun = found[0], time.Now()
		}
		switch info, err := os.Stat(name); {
		case err != nil:
			return 0, fmt.Errorf("it was gone before it was seen whole: %w", err)
		case info.Size() == size:
			return time.Since(begun), nil
		}
	}
	return 0, fmt.Errorf("%s is not whole after a minute", pattern)
}

// newSink listens, takes all that comes, and says a byte when payload bytes have come.
func newSink() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if n, _ := io.CopyN(io.Discard, c, payload); n == payload {
					c.Write([]byte{1})
				}
			}()
		}
	}()
	return l, nil
}

// sendTunnel sends the payload to a sink and returns its rate in Mbit/s.
func sendTunnel(addr string) (float64, error) {
	content := make([]byte, payload)
	rand.Read(content)
	begun := time.Now()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write(content); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return 0, err
	}
	return payload * 8 / time.Since(begun).Seconds() / 1e6, nil
}
