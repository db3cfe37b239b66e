package plugin

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
	"github.com/stack4things/s4t/plugin/wasihost"
)

// askRuntime is how long a runtime may take to say its version.
const askRuntime = 20 * time.Second

// findRuntimes says what runs plugins here, with versions, or "no: " and why not, and
// where python3 is.
func findRuntimes(self []string) (versions map[string]string, python string) {
	versions = map[string]string{
		string(s4t.RuntimeExec):   runtime.GOOS + "/" + runtime.GOARCH,
		string(s4t.RuntimePython): "no: there is no python3 in " + guestPath,
		string(s4t.RuntimeWASI):   wasihost.Version,
	}
	if len(self) == 0 {
		versions[string(s4t.RuntimeWASI)] = "no: lightning-rod was not told its own command"
	}
	if python = lookPath("python3"); python != "" {
		ctx, cancel := context.WithTimeout(context.Background(), askRuntime)
		defer cancel()
		out, err := exec.CommandContext(ctx, python, "-c", "import sys; print(*sys.version_info[:3], sep='.')").Output()
		version := s4t.Line(string(out), s4t.MaxName)
		if err != nil || version == "" {
			versions[string(s4t.RuntimePython)] = fmt.Sprintf("no: %s does not run: %v", python, err)
			return versions, ""
		}
		versions[string(s4t.RuntimePython)] = version
	}
	return versions, python
}

// lookPath finds a program of the board that guests find, too.
func lookPath(name string) string {
	for _, dir := range filepath.SplitList(guestPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o001 != 0 {
			return path
		}
	}
	return ""
}

// argv is the command line that runs a file of a bundle, with arguments, in its
// runtime; what is no file of the bundle is a program of the board.
func (m *Manager) argv(of bundle.Manifest, args []string, folder, data, board string) ([]string, error) {
	path := filepath.Join(folder, args[0])
	if _, err := os.Stat(path); err != nil || filepath.IsAbs(args[0]) {
		path = args[0]
		if !strings.Contains(path, "/") {
			path = lookPath(path)
		}
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("%s is neither in the bundle nor a program of the board", args[0])
		}
		return append([]string{path}, args[1:]...), nil
	}
	switch of.Runtime {
	case s4t.RuntimePython:
		return append([]string{m.python, "-u", path}, args[1:]...), nil // unbuffered: for the protocol, and the log
	case s4t.RuntimeWASI:
		host := []string{hostName, folder, data, board, path}
		return append(append(append([]string{}, m.cfg.Self...), host...), args[1:]...), nil
	}
	return append([]string{path}, args[1:]...), nil
}
