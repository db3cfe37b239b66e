package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/bench/proc"
	"github.com/stack4things/s4t/internal/netlab"
)

// workflowResult is how long a user waits, and what it costs at rest.
type workflowResult struct {
	FirstPing []float64 // ms from the request to the first ping across a new bridge
	FirstByte []float64 // ms from `service expose` to the first byte of the service
	BoardMiB  float64   // lightning-rod at rest
	CloudMiB  float64   // iotronic with two boards at rest
	Err       error
}

// measureWorkflow creates bridges and exposes services, through the API.
func measureWorkflow(ctx context.Context, bin, self string, rounds int) (r workflowResult) {
	f, err := newField(ctx, bin, true, 2)
	if err != nil {
		r.Err = err
		return r
	}
	defer f.lab.Close()
	time.Sleep(5 * time.Second) // at rest
	r.BoardMiB, r.CloudMiB = proc.RSS(f.Boards[0].Process.Pid()), proc.RSS(f.Process.Pid())
	api, err := adminClient(f)
	if err != nil {
		r.Err = err
		return r
	}
	if _, err := f.Boards[0].Host.Start("echo", nil, self, "-echo", "127.0.0.1:7000"); err != nil {
		r.Err = err
		return r
	}
	if r.Err = f.Boards[0].Host.WaitListen(7000, 5*time.Second); r.Err != nil {
		return r
	}
	for i := range rounds {
		name := fmt.Sprintf("b%d", i)
		ms, err := firstPing(ctx, f, api, name)
		if err != nil {
			r.Err = err
			return r
		}
		r.FirstPing = append(r.FirstPing, ms)
		ms, err = firstByte(ctx, api, f.lab.Cloud)
		if err != nil {
			r.Err = err
			return r
		}
		r.FirstByte = append(r.FirstByte, ms)
	}
	return r
}

// adminClient is a client of the field's API that dials from inside it.
func adminClient(f *field) (*apiclient.Client, error) {
	b, err := os.ReadFile(f.ContextFile())
	if err != nil {
		return nil, err
	}
	var file struct {
		Current  string
		Contexts map[string]struct{ URL, Token, CA string }
	}
	if err := toml.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	c := file.Contexts[file.Current]
	return apiclient.New(apiclient.Config{URL: c.URL, Token: c.Token, CA: c.CA, Dial: f.lab.Cloud.DialContext})
}

func finish(ctx context.Context, api *apiclient.Client, op s4t.Operation, err error) (s4t.Operation, error) {
	if err != nil {
		return op, err
	}
	if op, err = api.WaitOperation(ctx, op.ID, nil); err != nil {
		return op, err
	}
	return op, apiclient.Failed(op)
}

func firstPing(ctx context.Context, f *field, api *apiclient.Client, name string) (float64, error) {
	start := time.Now()
	op, err := api.CreateBridge(ctx, apiclient.BridgeCreate{Name: name, Boards: []string{"board1", "board2"}})
	if _, err = finish(ctx, api, op, err); err != nil {
		return 0, err
	}
	b, err := api.Bridge(ctx, name)
	if err != nil {
		return 0, err
	}
	var to string
	for _, p := range b.Ports {
		if p.Board == "board2" {
			to, _, _ = strings.Cut(p.Addresses[0], "/")
		}
	}
	for {
		if _, err := f.Boards[0].Host.Run(ctx, "ping", "-n", "-c1", "-W1", to); err == nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			return 0, fmt.Errorf("no ping across bridge %s", name)
		}
	}
	took := time.Since(start)
	op, err = api.DeleteBridge(ctx, name)
	_, err = finish(ctx, api, op, err)
	return float64(took.Microseconds()) / 1e3, err
}

func firstByte(ctx context.Context, api *apiclient.Client, cloud *netlab.Host) (float64, error) {
	start := time.Now()
	op, err := finishExpose(ctx, api)
	if err != nil {
		return 0, err
	}
	s, err := api.Service(ctx, op.Object)
	if err != nil {
		return 0, err
	}
	c, err := cloud.DialContext(ctx, "tcp", net.JoinHostPort(s.Host, fmt.Sprint(s.PublicPort)))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return 0, err
	}
	took := time.Since(start)
	op, err = api.HideService(ctx, "board1", "7000")
	_, err = finish(ctx, api, op, err)
	return float64(took.Microseconds()) / 1e3, err
}

func finishExpose(ctx context.Context, api *apiclient.Client) (s4t.Operation, error) {
	op, err := api.ExposeService(ctx, "board1", apiclient.ServiceExpose{Service: "7000"})
	return finish(ctx, api, op, err)
}
