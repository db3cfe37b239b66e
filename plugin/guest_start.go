package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
)

// guestPath is the PATH of guests, in which python3 is looked for, too.
const guestPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Folders of a plugin, beside those of its versions.
const (
	dataFolder  = "data"  // its own
	runFolder   = "run"   // its own: sockets
	boardFolder = "board" // what the board gives it: it can read it
	paramsFile  = "params.json"
	socketFile  = "s" // short: the path of a socket is 107 bytes at most
)

// lastOutput is how long the output of a process is waited for that has ended.
const lastOutput = time.Second

// process is what a [Sandbox] starts.
type process interface {
	PID() int
	Done() <-chan struct{}
	Exit() Exit
	Used() Used
	Terminate(grace time.Duration)
}

// running is a process of a guest, with what looks after it.
type running struct {
	proc      process
	manifest  bundle.Manifest
	started   time.Time
	talk      *talk // of a callable
	unlimited []string
	found     chan verdict
	spoken    chan struct{}  // closed when it can be spoken to
	over      chan struct{}  // closed when the process has ended
	outputs   sync.WaitGroup // what it writes is being read
	watchers  sync.WaitGroup
	pipes     []*os.File // our ends
	release   func()

	healthy bool // of the guest's goroutine, as health
	health  string
}

// verdict is what was found of a process that runs.
type verdict struct {
	well bool
	dead bool   // it is to be ended
	full string // it has filled its disk: why
	text string
}

// done and verdicts are nil, and wait for ever, where nothing runs.
func (r *running) done() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.proc.Done()
}

func (r *running) verdicts() <-chan verdict {
	if r == nil {
		return nil
	}
	return r.found
}

// tell gives a verdict to the guest.
func (r *running) tell(v verdict) {
	select {
	case r.found <- v:
	case <-r.over:
	}
}

// kill has the process ended and, of a service, started again.
func (r *running) kill(why string) { r.tell(verdict{dead: true, text: why}) }

// startNow starts what is installed.
func (g *guest) startNow() {
	if !g.kept.Begun || g.kept.Started != g.seen.Start {
		g.kept.Begun, g.kept.Started = true, g.seen.Start
		g.save()
	}
	r, err := g.begin(g.kept.Current)
	if err == nil {
		g.mu.Lock()
		g.proc = r
		g.mu.Unlock()
		g.unborn = ""
		g.log.agent("version %s is started, process %d", g.kept.Current.Version, r.proc.PID())
		return
	}
	// Where its bundle is on the board tells its author nothing.
	folder := filepath.Join(g.dir, g.kept.Current.Folder) + "/"
	g.unborn = s4t.Line(strings.ReplaceAll(err.Error(), folder, ""), maxLine)
	g.log.agent("it cannot be started: %s", g.unborn)
	if g.kept.Before != nil {
		g.fallBack("it cannot be started: " + g.unborn)
		return
	}
	g.later(0)
}

// begin starts the process of an installed bundle.
func (g *guest) begin(in *installed) (r *running, err error) {
	m := in.Manifest
	r = &running{manifest: m, found: make(chan verdict), spoken: make(chan struct{}), over: make(chan struct{}), release: func() {}}
	var theirs []*os.File
	begun := r // r is nil where it fails
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range begun.pipes {
				f.Close()
			}
			begun.release()
		}
	}()
	spec, err := g.spec(in, r)
	if err != nil {
		return nil, err
	}
	var in0, out, errs *os.File
	if m.Protocol == bundle.ProtocolStdio && m.Kind == s4t.PluginCallable {
		if spec.Stdin, in0, err = os.Pipe(); err != nil {
			return nil, err
		}
		r.pipes, theirs = append(r.pipes, in0), append(theirs, spec.Stdin)
		r.talk = newTalk(in0, m.Parallel, g.log)
	}
	if out, spec.Stdout, err = os.Pipe(); err != nil {
		return nil, err
	}
	r.pipes, theirs = append(r.pipes, out), append(theirs, spec.Stdout)
	if errs, spec.Stderr, err = os.Pipe(); err != nil {
		return nil, err
	}
	r.pipes, theirs = append(r.pipes, errs), append(theirs, spec.Stderr)
	if r.proc, err = g.m.start(spec); err != nil {
		return nil, err
	}
	r.started = time.Now()
	r.unlimited = g.unlimited(m)
	if r.talk != nil { // over stdin and stdout
		r.outputs.Go(func() { r.talk.listen(newPaced(out)) })
	} else {
		r.outputs.Go(func() { g.capture(out, streamOut) })
	}
	r.outputs.Go(func() { g.capture(errs, streamErr) })
	if m.Kind == s4t.PluginCallable && m.Protocol == bundle.ProtocolSocket {
		r.talk = newTalk(nil, m.Parallel, g.log)
		path := filepath.Join(g.runDir(), socketFile)
		uid := g.kept.UID
		r.watchers.Go(func() { r.talk.dial(path, uid, r.spoken, r.over) })
	} else {
		close(r.spoken)
	}
	r.watchers.Go(func() { g.watch(r, spec) })
	r.watchers.Go(func() { g.measure(r) })
	return r, nil
}

func (g *guest) capture(f io.Reader, stream string) {
	capture(newPaced(f), maxLine, func(text []byte, _ bool) { g.log.add(stream, text) })
}

// stop ends the process, where one runs, and returns when it is gone.
func (g *guest) stop(why string) {
	if g.proc == nil {
		return
	}
	g.log.agent("stopped: %s", why)
	g.mu.Lock()
	g.stopping = true // no more calls
	g.mu.Unlock()
	g.proc.proc.Terminate(s4t.CommandGrace)
	if g.proc.talk != nil {
		g.proc.talk.end(errors.New("the plugin was stopped: " + why))
	}
	g.exit = g.proc.proc.Exit().String()
	g.release()
}

// release gives back what belonged to a process that has ended.
func (g *guest) release() {
	r := g.proc
	close(r.over)
	if r.talk != nil {
		r.talk.end(fmt.Errorf("the plugin ended: %s", r.proc.Exit()))
	}
	for _, f := range r.pipes {
		_ = f.SetDeadline(time.Now().Add(lastOutput)) // whoever still has the other end is not waited for
	}
	r.outputs.Wait()
	r.watchers.Wait()
	for _, f := range r.pipes {
		f.Close()
	}
	r.release()
	g.mu.Lock()
	g.proc, g.stopping = nil, false
	g.mu.Unlock()
	g.m.cfg.Ended(g.seen, r.proc.Used())
}

// spec says what is started, with all that it gets.
func (g *guest) spec(in *installed, r *running) (Spec, error) {
	m, w := in.Manifest, g.seen
	folder := filepath.Join(g.dir, in.Folder)
	data, run, board := filepath.Join(g.dir, dataFolder), g.runDir(), filepath.Join(g.dir, boardFolder)
	if err := g.folders(data, run, board); err != nil {
		return Spec{}, fmt.Errorf("make its folders: %w", err)
	}
	if err := g.writeParams(board, w.Params); err != nil {
		return Spec{}, fmt.Errorf("write its parameters: %w", err)
	}
	s := Spec{
		Name: g.id, Title: w.Name, Dir: folder, UID: g.kept.UID, GID: g.kept.UID,
		Limits:  Limits{CPU: m.Resources.CPU, Memory: m.Resources.Memory, Processes: m.Resources.Processes, Disk: g.diskLimit(m)},
		Network: m.Network && g.m.cfg.AllowNetwork,
		Read:    []string{folder, board},
		Write:   []string{data, run},
	}
	s.Env = []string{
		"PATH=" + guestPath, "HOME=" + data, "TMPDIR=" + filepath.Join(data, "tmp"),
		"S4T_PLUGIN=" + w.Name, "S4T_VERSION=" + in.Version, "S4T_DATA=" + data, "S4T_PARAMS_FILE=" + filepath.Join(board, paramsFile),
	}
	if m.Protocol == bundle.ProtocolSocket {
		s.Env = append(s.Env, "S4T_SOCKET="+filepath.Join(run, socketFile))
	}
	for name, value := range w.Params {
		if v := variable(name); v != "" && strings.IndexByte(value, 0) < 0 {
			s.Env = append(s.Env, v+"="+value)
		}
	}
	if g.m.cfg.Prepare != nil {
		env, read, write, release, err := g.m.cfg.Prepare(g.id, m, board, g.kept.UID)
		if err != nil {
			return Spec{}, err
		}
		if release != nil {
			r.release = release
		}
		s.Env, s.Read, s.Write = append(s.Env, env...), append(s.Read, read...), append(s.Write, write...)
	}
	var err error
	s.Argv, err = g.m.argv(m, m.Entry, folder, data, board)
	if m.Runtime == s4t.RuntimePython {
		s.Env = append(s.Env, "PYTHONDONTWRITEBYTECODE=1") // its folder is read-only
	}
	if m.Runtime == s4t.RuntimeWASI {
		s.Read = append(s.Read, g.m.cfg.Self[0])
	}
	return s, err
}

// runDir is the folder of its sockets.
func (g *guest) runDir() string {
	if g.m.cfg.Sockets != "" {
		return filepath.Join(g.m.cfg.Sockets, g.id)
	}
	return filepath.Join(g.dir, runFolder)
}

// variable is the environment variable of a parameter: S4T_PARAM_ and its name in
// upper case; "" where the name is none of a variable.
func variable(name string) string {
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return ""
		}
	}
	if name == "" {
		return ""
	}
	return "S4T_PARAM_" + strings.ToUpper(name)
}

// folders makes the folders of a plugin. No process of it runs.
func (g *guest) folders(data, run, board string) error {
	for path, mode := range map[string]fs.FileMode{data: 0o700, run: 0o700, board: 0o755} {
		if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(data) // what is in it is the plugin's: it may have made links
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Mkdir("tmp", 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.RemoveAll(filepath.Join(run, socketFile)); err != nil { // of the process before
		return err
	}
	if !g.m.root {
		return nil
	}
	for _, dir := range []string{data, run} {
		if err := own(dir, g.kept.UID); err != nil {
			return err
		}
	}
	return nil
}

// own gives a folder, and all in it, to a user where it is not the user's yet.
func own(dir string, uid int) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && owner(info) != uid {
			err = os.Lchown(path, uid, uid)
		}
		return err
	})
}

// writeParams writes the parameters that a plugin was injected with.
func (g *guest) writeParams(board string, params map[string]string) error {
	if params == nil {
		params = map[string]string{}
	}
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	path := filepath.Join(board, paramsFile)
	if was, err := readUpTo(path, s4t.MaxParamsText*8); err == nil && bytes.Equal(was, text) {
		return nil
	}
	os.Remove(path)
	if err := os.WriteFile(path, text, 0o440); err != nil {
		return err
	}
	if g.m.root {
		return os.Chown(path, 0, g.kept.UID)
	}
	return nil
}

// unlimited says which limits that a plugin asks for this board cannot enforce.
func (g *guest) unlimited(m bundle.Manifest) (lines []string) {
	enforces := g.m.enforces()
	asked := map[string]bool{
		"cpu": m.Resources.CPU > 0, "memory": m.Resources.Memory > 0, "processes": true,
		"network": !m.Network || !g.m.cfg.AllowNetwork, "files": true, "user": true,
	}
	for _, what := range []string{"cpu", "memory", "processes", "network", "files", "user"} {
		if why, no := strings.CutPrefix(enforces[what], "no: "); no && asked[what] {
			lines = append(lines, what+": "+why)
		}
	}
	return lines
}
