package terminal

import (
	"log/slog"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// MaxShells bounds the shells of a board at a time.
const MaxShells = 8

// Host begins shells of one user of this board. Its methods may be called from any goroutine.
type Host struct {
	user string
	etc  string // /etc but for tests
	log  *slog.Logger

	running sync.WaitGroup // shells

	mu   sync.Mutex // guards open
	open int
}

// Wait returns when no process of a shell is left. Each has been closed, and none is opened any more.
func (h *Host) Wait() { h.running.Wait() }

// NewHost returns a Host for a user of this board. It refuses one that does not exist, has no
// shell, or that this process may not become. log may be nil.
func NewHost(user string, log *slog.Logger) (*Host, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Host{user: user, etc: "/etc", log: log}
	_, err := h.account()
	if err != nil {
		return nil, err
	}
	return h, nil
}

// User is whose shells these are.
func (h *Host) User() string { return h.user }

// account looks the user up, as it is now.
func (h *Host) account() (account, error) {
	a, err := lookup(h.etc, h.user)
	if err == nil {
		err = mayBecome(a)
	}
	return a, err
}

// mayBecome refuses a user that this process cannot become whole: with only the rights to change
// its user, a process that is not root would leave its other rights to the shell.
func mayBecome(a account) error {
	op := "become the user " + a.name
	uid := os.Geteuid()
	if uint32(uid) == a.uid {
		return nil
	}
	if uid != 0 {
		return s4t.Errorf(s4t.Forbidden, op, "run lightning-rod as root, or allow the terminal of the user that it runs as", "lightning-rod runs as the user %d", uid)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil // a kernel without capabilities(7)
	}
	const needs = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	if data[0].Effective&needs != needs {
		return s4t.Errorf(s4t.Forbidden, op, "write its unit again: `lightning-rod install --allow-terminal "+a.name+"`", "lightning-rod runs without CAP_SETUID and CAP_SETGID")
	}
	return nil
}

// Open returns a shell that begins with its first frame, for somebody whose name goes to the log.
// What it writes is given to keep; nil: it is not recorded.
func (h *Host) Open(who string, keep Keep) (*Shell, error) {
	const op = "open a terminal on the board"
	if _, err := h.account(); err != nil {
		return nil, s4t.Errorf(s4t.KindOf(err), op, "ask the owner of the board", "%w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open >= MaxShells {
		return nil, s4t.Errorf(s4t.TooMany, op, "end one of them", "%d terminals are open on this board", h.open)
	}
	h.open++
	return newShell(h, who, keep), nil
}

// ended counts one shell less.
func (h *Host) ended() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
}

// environment is what a login shell begins with: nothing of lightning-rod's own.
func (a account) environment(term string) []string {
	path := "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
	if a.uid == 0 {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	lang := os.Getenv("LANG")
	if lang == "" {
		lang = "C.UTF-8"
	}
	env := []string{"HOME=" + a.home, "USER=" + a.name, "LOGNAME=" + a.name, "SHELL=" + a.shell, "PATH=" + path, "TERM=" + term, "LANG=" + lang}
	if a.uid != 0 {
		if dir := "/run/user/" + strconv.FormatUint(uint64(a.uid), 10); isDir(dir) {
			env = append(env, "XDG_RUNTIME_DIR="+dir)
		}
	}
	return env
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
