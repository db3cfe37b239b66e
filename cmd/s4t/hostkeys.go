package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/rtunnel"
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
func (a *app) hostKeys(board s4t.Board, tcpPort int) hostKeys {
	name := string(board.ID)
	if tcpPort != 22 {
		name += "-" + strconv.Itoa(tcpPort)
	}
	k := hostKeys{board: board.Name, path: filepath.Join(a.configDir(), "known_hosts.d", name), alias: "s4t-" + name}
	for _, text := range board.Info.HostKeys {
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
// accepted. An agent reports the keys that it finds on the board's disk, and
// cannot know which of them a service uses: before they are kept, the service
// is asked to show its key. One that shows another is accepted on first use,
// which is said to warn.
func (k hostKeys) settle(shown func() (ssh.PublicKey, error), warn io.Writer) (strict bool, err error) {
	bad := func(err error) (bool, error) {
		return false, s4t.Errorf(s4t.Internal, "keep the host keys of board "+k.board, "check the permissions of "+filepath.Dir(k.path), "%w", err)
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return bad(err)
	}
	kept, err := os.ReadFile(k.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return bad(err)
	}
	lines := k.lines()
	if lines == "" || string(kept) == lines {
		return lines != "", nil
	}
	key, err := shown()
	if err != nil {
		return false, err
	}
	for _, r := range k.reported {
		if string(r.Marshal()) == string(key.Marshal()) {
			if err := replaceFile(k.path, lines); err != nil {
				return bad(err)
			}
			return true, nil
		}
	}
	if len(kept) == 0 {
		fmt.Fprintf(warn, "s4t: ssh to board %s: the service shows a host key that the board's agent did not report; it is accepted on first use: %s\n", k.board, ssh.FingerprintSHA256(key))
	}
	return false, nil
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

// keyTimeout bounds the handshake that shows a key.
const keyTimeout = 10 * time.Second

// errShown ends that handshake.
var errShown = errors.New("the key was shown")

// shownHostKey connects to an SSH service and returns the host key it proves
// to have.
func (a *app) shownHostKey(ctx context.Context, at cloudContext, client *apiclient.Client, board s4t.Board, tcpPort int) (ssh.PublicKey, error) {
	dialer, err := rtunnel.NewDialer(rtunnel.DialerConfig{CA: []byte(at.CA), Env: a.env})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	grant, err := client.OpenStream(ctx, string(board.ID), apiclient.StreamOpen{TCPPort: tcpPort})
	if err != nil {
		return nil, err
	}
	stream, err := dialer.Stream(ctx, grant.URL, grant.Ticket)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { stream.CloseWithReset() })()
	defer stream.CloseWithReset()
	var shown ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(stream, board.Name, &ssh.ClientConfig{
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { shown = key; return errShown },
	})
	if shown == nil {
		return nil, s4t.Errorf(s4t.Unavailable, "ssh to board "+board.Name, "check the SSH service of the board", "the service at port %d shows no host key: %w", tcpPort, err)
	}
	return shown, nil
}
