package ownercommand

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
	"github.com/stack4things/s4t/plugin"
)

const (
	suffix      = ".toml"
	maxProblems = 8                      // that are told
	settle      = 200 * time.Millisecond // after a change: an editor makes several
)

// Config configures [Commands].
type Config struct {
	Dir   string                                          // required: the folder; it need not be there
	Start func(spec plugin.Spec) (*plugin.Process, error) // required: of a [plugin.Sandbox]
	Log   *slog.Logger                                    // optional
}

// Commands are the commands of the board's owner.
type Commands struct {
	cfg Config

	mu       sync.Mutex // guards what follows
	byName   map[string]*command
	problems []string
	changed  chan struct{} // closed when the above are others, and replaced
}

// New reads the folder.
func New(cfg Config) *Commands {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Commands{cfg: cfg, changed: make(chan struct{})}
	c.read()
	return c
}

// Commands returns them by name.
func (c *Commands) Commands() []s4t.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]s4t.Command, 0, len(c.byName))
	for _, cmd := range c.byName {
		list = append(list, cmd.Command)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Problems are what is wrong with files, a line each.
func (c *Commands) Problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.problems)
}

// Changed is closed when the commands or problems are others.
func (c *Commands) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// read reads all files anew.
func (c *Commands) read() {
	byName := map[string]*command{}
	var problems []string
	entries, err := os.ReadDir(c.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, "the owner's commands: "+err.Error())
	}
	if err := trusted(c.cfg.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems, entries = append(problems, "the owner's commands are not taken: "+err.Error()), nil
	}
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), suffix)
		if !is || strings.HasPrefix(name, ".") || e.IsDir() {
			continue
		}
		path := filepath.Join(c.cfg.Dir, e.Name())
		cmd, err := c.readFile(path, name)
		if err == nil && len(byName) >= s4t.MaxCommands {
			err = s4t.Errorf(s4t.TooMany, "read "+path, "remove some", "a board has at most %d commands", s4t.MaxCommands)
		}
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		byName[name] = cmd
	}
	all := problems
	if n := len(problems); n > maxProblems {
		problems = append(problems[:maxProblems:maxProblems], "and more of the kind: see the log")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reflect.DeepEqual(byName, c.byName) && slices.Equal(problems, c.problems) {
		return
	}
	for _, p := range all {
		c.cfg.Log.Warn("a command of the owner is not taken", "err", p)
	}
	c.byName, c.problems = byName, problems
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Commands) readFile(path, name string) (*command, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hold anybody up
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "read "+path, hint, "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = ownersOnly(path, info)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, tomlfile.MaxFile+1))
	}
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "read "+path, hint, "%w", err)
	}
	return parse(path, name, text)
}

// trusted says why others than the owner may change what is in a folder.
func trusted(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	return ownersOnly(dir, info)
}

// ownersOnly is an error where others than root and lightning-rod's user can change a
// file: it would make them that user.
func ownersOnly(path string, info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return errors.New(path + " belongs to somebody else: `chown root` it")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New(path + " can be written by others: `chmod go-w` it")
	}
	return nil
}

// Run reads the folder again when something in it changed, until ctx ends.
func (c *Commands) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		events, err := watch(c.cfg.Dir)
		if err != nil {
			c.cfg.Log.Warn("changes of the owner's commands are not seen until lightning-rod starts anew", "dir", c.cfg.Dir, "err", err)
			<-ctx.Done()
			return nil
		}
		c.read()
		await(ctx, events)
	}
	return nil
}
