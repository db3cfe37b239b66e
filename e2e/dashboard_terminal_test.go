package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// keyboard goes about as one who has no mouse, and bridges two boards.
func (l *dashboardLab) keyboard(t *testing.T) {
	l.do(nil, "keyboard", step{"link": l.link(t), "board": "orchard", "other": "belfry", "name": "by-keys"})
	within(t, time.Minute, "the bridge that was deleted by the keyboard is gone", func() error {
		var bridges []s4t.Bridge
		if err := l.JSON(t.Context(), &bridges, "bridge", "list"); err != nil {
			return err
		}
		if slices.ContainsFunc(bridges, func(b s4t.Bridge) bool { return b.Name == "by-keys" }) {
			return fmt.Errorf("there are %+v", bridges)
		}
		return nil
	})
}

// terminals runs an editor in the page's terminals, in another size, through a cut of 10 s: by
// SSH, and of the board's own, side by side, as both wait for the same. They are no parallel tests:
// a link is good for a minute, and one of those may wait longer for its turn.
func (l *dashboardLab) terminals(t *testing.T) {
	script, err := filepath.Abs(filepath.Join(scripts, "terminal.mjs"))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*stepLimit)
	defer cancel()
	ended := make(chan error, 2)
	start := func(name string, env ...string) {
		cmd := l.Lab.User.Command(ctx, "node", script, l.memberLink(t), "pantry", l.artifacts)
		cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), env...)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", name, err, out)
			}
			ended <- err
		}()
	}
	start("by SSH", "S4T_TERM_USER=root", "S4T_TERM_KEY="+sshd(t, l.Boards[0]).Key)
	start("the board's own")
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// memberLink logs a browser in as a member, once. A token has one such link at a time: it is of one
// of its own.
func (l *dashboardLab) memberLink(t *testing.T) string {
	t.Helper()
	var made struct{ Token string }
	s4tJSON(t, l.Cloud, &made, "token", "create", "--role", "member")
	cmd := l.Lab.User.Command(t.Context(), filepath.Join(bin, "s4t"), "dashboard", "--print")
	cmd.Env = append(append(os.Environ(), l.Env()...), "S4T_TOKEN="+made.Token)
	out, err := cmd.Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// records has terminals of the project recorded: the page says so before anybody types, and the
// recording is for the project's manager, in the page and by s4t.
func (l *dashboardLab) records(t *testing.T) {
	runS4T(t, l.Cloud, "project", "update", "default", "--record-terminals", "on")
	defer runS4T(t, l.Cloud, "project", "update", "default", "--record-terminals", "off")
	var row string
	l.do(&row, "recorded", step{"as": "admin", "board": "pantry", "line": "echo kept-$((6*7))", "says": "kept-42"})
	if !strings.Contains(row, "root") || !strings.Contains(row, "admin") {
		t.Errorf("the page lists the recording as %q", row)
	}
	var list []s4t.Recording
	s4tJSON(t, l.Cloud, &list, "recording", "list")
	if len(list) != 1 || list[0].Board != "pantry" || list[0].ShellOf != "root" || list[0].EndedAt == nil {
		t.Fatalf("s4t lists the recordings %+v", list)
	}
	if cast := runS4T(t, l.Cloud, "recording", "show", string(list[0].ID)); !strings.Contains(cast, "kept-42") {
		t.Errorf("the recording is %s", cast)
	}
}

func (l *dashboardLab) unrecords(t *testing.T) {
	l.do(nil, "unrecord", step{"as": "admin", "board": "pantry"})
	var list []s4t.Recording
	s4tJSON(t, l.Cloud, &list, "recording", "list")
	if len(list) != 0 {
		t.Errorf("recordings that were deleted are there: %+v", list)
	}
}
