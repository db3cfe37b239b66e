package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// scripts are those that drive a browser.
const scripts = "../dashboard/e2e"

// stepLimit bounds a step of a browser; what is waited for in it has a minute.
const stepLimit = 3 * time.Minute

// browser is a Chromium that runs in a host of a lab, and does the steps of
// dashboard/e2e/steps.mjs.
type browser struct {
	t         *testing.T
	artifacts string
	in        io.WriteCloser
	out       *bufio.Scanner
	stderr    bytes.Buffer
}

// step is what a browser is to do: the arguments of a step.
type step map[string]any

// noBrowser is why there is no browser here, or "".
func noBrowser() string {
	chromium := os.Getenv("S4T_CHROMIUM")
	if chromium == "" {
		chromium = "/usr/bin/chromium"
	}
	if _, err := os.Stat(chromium); err != nil {
		return "there is no Chromium: " + err.Error()
	}
	if _, err := os.Stat(filepath.Join(scripts, "../node_modules/playwright-core")); err != nil {
		return "playwright-core is not installed: `scripts/dashboard install` does it: " + err.Error()
	}
	out, err := exec.Command("node", "--version").Output()
	if err != nil || len(out) < 3 || string(out[1:3]) < "20" {
		return "there is no Node.js 20: `scripts/node bin/node COMMAND` brings one"
	}
	return ""
}

// needBrowser skips a test where there is none, or fails where nothing is to be skipped.
func needBrowser(t *testing.T) {
	t.Helper()
	why := noBrowser()
	if why == "" {
		return
	}
	if os.Getenv("S4T_NO_SKIPS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// artifacts is a folder for what is looked at when a test has failed.
func artifacts(t *testing.T) string {
	t.Helper()
	dir := t.ArtifactDir()
	if logs := os.Getenv("S4T_LOGS"); logs != "" {
		dir = filepath.Join(logs, t.Name())
	}
	must(t, os.MkdirAll(dir, 0o755))
	dir, err := filepath.Abs(dir)
	must(t, err)
	return dir
}

// commander is where programs run: a host of a lab.
type commander interface {
	Command(ctx context.Context, argv ...string) *exec.Cmd
}

// startBrowser starts one there, until the test ends.
func startBrowser(t *testing.T, on commander) *browser {
	t.Helper()
	script, err := filepath.Abs(filepath.Join(scripts, "drive.mjs"))
	must(t, err)
	b := &browser{t: t, artifacts: artifacts(t)}
	ctx, end := context.WithCancel(context.Background())
	cmd := on.Command(ctx, "node", script, b.artifacts)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.Stderr = &b.stderr
	b.in, err = cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	b.out = bufio.NewScanner(out)
	b.out.Buffer(nil, 64<<20)
	must(t, cmd.Start())
	t.Cleanup(func() {
		b.in.Close() // it closes its browser, and ends
		late := time.AfterFunc(time.Minute, end)
		cmd.Wait()
		late.Stop()
		end()
	})
	b.answer("start", nil)
	return b
}

// do has a step done, which must succeed, and reads its value into v, if that is not nil.
func (b *browser) do(v any, name string, args step) {
	b.t.Helper()
	b.begin(name, args)
	b.answer(name, v)
}

// begin has a step done; answer waits for it.
func (b *browser) begin(name string, args step) {
	b.t.Helper()
	line := step{"do": name}
	for k, a := range args {
		line[k] = a
	}
	text, err := json.Marshal(line)
	must(b.t, err)
	_, err = b.in.Write(append(text, '\n'))
	must(b.t, err)
}

func (b *browser) answer(name string, v any) {
	b.t.Helper()
	late := time.AfterFunc(stepLimit+9*time.Minute*time.Duration(strings.Count(name, "axe")), func() { b.in.Close() })
	defer late.Stop()
	if !b.out.Scan() {
		b.t.Fatalf("%s: the browser's driver ended: %v\n%s", name, b.out.Err(), b.stderr.String())
	}
	var got struct {
		Value json.RawMessage
		Error string
	}
	must(b.t, json.Unmarshal(b.out.Bytes(), &got))
	if got.Error != "" {
		b.t.Fatal(got.Error)
	}
	if v != nil {
		must(b.t, json.Unmarshal(got.Value, v))
	}
}
