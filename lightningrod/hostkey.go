package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stack4things/s4t/wire"
)

const (
	sshPort = 22
	// hostKeyTimeout bounds asking an SSH service of this board for its keys.
	hostKeyTimeout = 3 * time.Second
	// keptFor is how long the keys of a service are taken to be its keys while its
	// socket is the same; keptNone, that it shows none.
	keptFor  = 10 * time.Minute
	keptNone = 30 * time.Second
	// maxKept bounds how many services' keys are kept.
	maxKept = 64
)

// scanSource is where a service is asked for its keys from: sshd punishes who
// ends before a login by source address, and so it punishes nobody else.
var scanSource = net.IPv4(127, 63, 0, 1)

// hostKeyAlgorithms are asked for one by one: a service shows one key a
// handshake (RFC 4253, section 7.1).
var hostKeyAlgorithms = [...][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// errSeen ends a handshake that has shown its key.
var errSeen = errors.New("the key was seen")

// sshServices knows the SSH services of this board and their host keys. The
// services themselves are asked, over loopback, where nobody is in between: the
// files in /etc/ssh may be another's. They are asked once, and again when their
// socket is another.
type sshServices struct {
	dir   string // of sshd's configuration
	ports []int  // that sshd is configured for

	asking sync.Mutex // one service is asked at a time

	mu   sync.Mutex // guards kept
	kept map[int]keptKeys
}

// keptKeys are what a service showed.
type keptKeys struct {
	inode uint64 // of its socket
	at    time.Time
	keys  []string // authorized_keys form
}

func newSSHServices(dir string) *sshServices {
	return &sshServices{dir: dir, ports: configuredPorts(dir), kept: map[int]keptKeys{}}
}

// is reports whether the service at a TCP port of this board is known to be one
// of SSH.
func (s *sshServices) is(tcpPort int) bool {
	return tcpPort == sshPort || slices.Contains(s.ports, tcpPort) || len(s.known(tcpPort)) > 0
}

// known returns the keys that a service showed last.
func (s *sshServices) known(tcpPort int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[tcpPort].keys
}

// answer answers the cloud's question which host keys the SSH service at a TCP
// port of this board has. It is empty where no SSH service answers.
func (s *sshServices) answer(ctx context.Context, question string) (string, error) {
	var q wire.HostKeysAsk
	var found wire.HostKeys
	if json.Unmarshal([]byte(question), &q) == nil && q.TCPPort > 0 && q.TCPPort < 1<<16 {
		all, err := readListeners()
		found.Keys, _ = s.keys(ctx, q.TCPPort, all, err == nil)
	}
	return string(wire.Encode(found)), nil
}

// keys returns the host keys of a service, and whether they are others than
// before. all is what listens on this board, where that could be read.
func (s *sshServices) keys(ctx context.Context, tcpPort int, all listeners, read bool) (keys []string, changed bool) {
	s.asking.Lock()
	defer s.asking.Unlock()
	l, listens := all.at(loopback4, tcpPort)
	s.mu.Lock()
	last, asked := s.kept[tcpPort]
	if read && !listens {
		delete(s.kept, tcpPort)
		s.mu.Unlock()
		return nil, len(last.keys) > 0
	}
	s.mu.Unlock()
	fresh := keptFor
	if len(last.keys) == 0 {
		fresh = keptNone
	}
	if asked && last.inode == l.inode && time.Since(last.at) < fresh {
		return last.keys, false
	}
	keys = scanHostKeys(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort)))
	if len(keys) == 0 && slices.Contains(s.ports, tcpPort) {
		keys = hostKeys(s.dir) // sshd is too busy: its own files then
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= maxKept {
		clear(s.kept)
	}
	s.kept[tcpPort] = keptKeys{l.inode, time.Now(), keys}
	return keys, !slices.Equal(keys, last.keys)
}

// scanHostKeys returns the host keys of an SSH service, authorized_keys form.
func scanHostKeys(ctx context.Context, addr string) (keys []string) {
	ctx, cancel := context.WithTimeout(ctx, hostKeyTimeout)
	defer cancel()
	for _, algorithms := range hostKeyAlgorithms { // not at once: sshd drops who comes in a crowd
		if k := shownKey(ctx, addr, algorithms); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// shownKey is the key that a service proves to have, or "".
func shownKey(ctx context.Context, addr string, algorithms []string) (key string) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: scanSource}}
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return ""
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	ssh.NewClientConn(c, addr, &ssh.ClientConfig{
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(_ string, _ net.Addr, k ssh.PublicKey) error {
			key = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
			return errSeen
		},
	})
	return key
}

// hostKeys returns the public SSH host keys in a directory, without comments.
func hostKeys(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "ssh_host_*_key.pub"))
	var keys []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if f := strings.Fields(string(b)); len(f) >= 2 {
			keys = append(keys, f[0]+" "+f[1])
		}
	}
	return keys
}

// configuredPorts are the TCP ports that sshd's configuration in a directory
// names, 22 where it names none (sshd_config(5)). It does not tell which
// configuration a sshd that runs was given.
func configuredPorts(dir string) (ports []int) {
	files, _ := filepath.Glob(filepath.Join(dir, "sshd_config.d", "*.conf"))
	for _, file := range append(files, filepath.Join(dir, "sshd_config")) {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			text := ""
			switch strings.ToLower(f[0]) {
			case "port":
				text = f[1]
			case "listenaddress":
				if at, err := netip.ParseAddrPort(f[1]); err == nil {
					text = strconv.Itoa(int(at.Port()))
				}
			}
			if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
				ports = append(ports, int(n))
			}
		}
	}
	if len(ports) == 0 {
		ports = []int{sshPort}
	}
	return ports
}
