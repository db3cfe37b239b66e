package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/stack4things/s4t"
)

// hostKeys are the host keys of one SSH service of one board.
type hostKeys struct {
	board    string
	path     string // of the file they are kept in, in the form of known_hosts
	alias    string // of the service in that file
	reported []ssh.PublicKey
}

// hostKeys says where the keys of a service are kept, and what the board's
// agent reported. Two SSH services of a board may have different keys.
func (a *app) hostKeys(board s4t.Board, tcpPort int, reported []string) hostKeys {
	name := string(board.ID)
	if tcpPort != 22 {
		name += "-" + strconv.Itoa(tcpPort)
	}
	k := hostKeys{board: board.Name, path: filepath.Join(a.configDir(), "known_hosts.d", name), alias: "s4t-" + name}
	for _, text := range reported {
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
			k.reported = append(k.reported, key)
		}
	}
	return k
}

// lines are the reported keys as lines of known_hosts (sshd(8)): nothing that
// a board says gets into the file as it is.
func (k hostKeys) lines() string {
	var b strings.Builder
	for _, key := range k.reported {
		fmt.Fprintf(&b, "%s %s %s\n", k.alias, key.Type(), base64.StdEncoding.EncodeToString(key.Marshal()))
	}
	return b.String()
}

// settle brings the file up to date and reports whether only its keys may be
// accepted: those that the board's agent saw the service show, just now and
// over its loopback. Where it saw none, ssh accepts on first use.
func (k hostKeys) settle() (strict bool, err error) {
	if err = os.MkdirAll(filepath.Dir(k.path), 0o700); err == nil {
		kept, _ := os.ReadFile(k.path)
		lines := k.lines()
		strict = lines != ""
		if strict && string(kept) != lines {
			err = replaceFile(k.path, lines)
		}
	}
	if err != nil {
		return false, s4t.Errorf(s4t.Internal, "keep the host keys of board "+k.board, "check the permissions of "+filepath.Dir(k.path), "%w", err)
	}
	return strict, nil
}

// replaceFile writes a file whole or not at all, for its owner only.
func replaceFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
