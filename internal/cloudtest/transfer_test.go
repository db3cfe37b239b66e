package cloudtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// TestABoardForgetsItsOwnerBefore: a real board that is online when it gets another owner, and one that
// is away, wipe what the one before left, and keep who they are.
func TestABoardForgetsItsOwnerBefore(t *testing.T) {
	c, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx := t.Context()
	if _, err := client.CreateProject(ctx, apiclient.ProjectCreate{Name: "lab"}); err != nil {
		t.Fatal(err)
	}
	token, err := client.CreateToken(ctx, apiclient.TokenCreate{Project: "lab", Role: s4t.RoleManager})
	if err != nil {
		t.Fatal(err)
	}
	lab, err := apiclient.New(apiclient.Config{URL: url(Name), Token: token.Secret, CA: c.ca, Dial: c.Dial, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.Close)
	for _, away := range []bool{false, true} {
		name := map[bool]string{false: "here", true: "away"}[away]
		made, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Enrol(ctx, made)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		wait(t, client, name)
		if away {
			b.Stop()
		}
		left := map[string]bool{"runs.journal": false, "usage.json": false, filepath.Join("plugins", "secret", "data"): false, "identity.json": true, "profile.toml": true}
		for file := range left {
			path := filepath.Join(b.state, file)
			os.MkdirAll(filepath.Dir(path), 0o700)
			if file == "identity.json" {
				continue
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		given, err := client.TransferBoard(ctx, name, "lab")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lab.ClaimBoard(ctx, apiclient.BoardClaim{Code: given.Code}); err != nil {
			t.Fatal(err)
		}
		if away {
			if err := b.Start(); err != nil {
				t.Fatal(err)
			}
		}
		wiped := func() bool {
			for file, stays := range left {
				_, err := os.Lstat(filepath.Join(b.state, file))
				if there := !errors.Is(err, fs.ErrNotExist); there != stays && file != "usage.json" { // that is made anew
					return false
				}
			}
			owner, err := os.ReadFile(filepath.Join(b.state, "owner.json"))
			return err == nil && string(owner) == `{"tenure":1,"wiping":false}`
		}
		for end := time.Now().Add(time.Minute); !wiped(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				found, _ := filepath.Glob(filepath.Join(b.state, "*"))
				t.Fatalf("%s: on the board is still %v", name, found)
			}
		}
		wait(t, lab, name)
		if _, err := client.Board(ctx, name); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s: who had it sees it by its name: %v", name, err)
		}
	}
}

// wait waits until a board is online.
func wait(t *testing.T, client *apiclient.Client, board string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := client.WaitBoard(ctx, board, s4t.BoardOnline); err != nil {
		t.Fatal(err)
	}
}
