package terminal

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
)

// maxPasswd bounds what is read of /etc/passwd and /etc/group, in bytes.
const maxPasswd = 1 << 20

// account is a user as passwd(5) and group(5) know it.
type account struct {
	name   string
	uid    uint32
	gid    uint32
	groups []uint32 // gid is not among them
	home   string
	shell  string // absolute
}

// lookup finds a user in the files of a system; etc is /etc but for tests.
func lookup(etc, name string) (account, error) {
	op := "find the user " + s4t.Line(name, 64)
	const hint = "name a user of this board that has a shell: `getent passwd`"
	if name == "" || len(name) > 64 || strings.ContainsAny(name, ":\n/") {
		return account{}, s4t.Errorf(s4t.Invalid, op, hint, "that is no name of a user")
	}
	var a account
	err := lines(etc+"/passwd", func(f []string) bool {
		if len(f) != 7 || f[0] != name {
			return false
		}
		uid, uerr := strconv.ParseUint(f[2], 10, 32)
		gid, gerr := strconv.ParseUint(f[3], 10, 32)
		if uerr != nil || gerr != nil {
			return false
		}
		a = account{name: name, uid: uint32(uid), gid: uint32(gid), home: f[5], shell: f[6]}
		return true
	})
	if err != nil {
		return a, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	if a.name == "" {
		return a, s4t.Errorf(s4t.NotFound, op, hint, "this board has no such user in %s/passwd", etc)
	}
	if a.shell == "" {
		a.shell = "/bin/sh" // as login(1) does
	}
	if a.home == "" {
		a.home = "/"
	}
	base := a.shell[strings.LastIndexByte(a.shell, '/')+1:]
	if a.shell[0] != '/' || base == "nologin" || base == "false" {
		return a, s4t.Errorf(s4t.Invalid, op, hint, "it has no shell to log in with, but %q", a.shell)
	}
	if info, err := os.Stat(a.shell); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return a, s4t.Errorf(s4t.Invalid, op, hint, "its shell %s cannot be run", a.shell)
	}
	err = lines(etc+"/group", func(f []string) bool {
		if len(f) == 4 && slices.Contains(strings.Split(f[3], ","), name) {
			if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil && uint32(gid) != a.gid && len(a.groups) < 256 {
				a.groups = append(a.groups, uint32(gid))
			}
		}
		return false
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return a, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	return a, nil
}

// lines gives the fields of each line of a file to f, until that has what it wants.
func lines(path string, f func(fields []string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	s := bufio.NewScanner(io.LimitReader(file, maxPasswd))
	for s.Scan() {
		if f(strings.Split(s.Text(), ":")) {
			return nil
		}
	}
	return s.Err()
}
