package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stack4things/s4t/wire"
)

// hostKeyTimeout bounds asking an SSH service of this board for its keys.
const hostKeyTimeout = 3 * time.Second

// hostKeyAlgorithms are asked for one by one: a service shows one key a
// handshake (RFC 4253, section 7.1).
var hostKeyAlgorithms = [...][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// errSeen ends a handshake that has shown its key.
var errSeen = errors.New("the key was seen")

// askHostKeys answers the cloud's question which host keys the SSH service at
// a TCP port of this board has. The service itself is asked, over loopback,
// where nobody is in between: the files in /etc/ssh may be another's. The
// answer is empty where no SSH service answers.
func askHostKeys(ctx context.Context, question string) (string, error) {
	var q wire.HostKeysAsk
	var found wire.HostKeys
	if json.Unmarshal([]byte(question), &q) == nil && q.TCPPort > 0 && q.TCPPort < 1<<16 {
		found.Keys = scanHostKeys(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(q.TCPPort)))
	}
	return string(wire.Encode(found)), nil
}

// scanHostKeys returns the host keys of an SSH service, authorized_keys form.
func scanHostKeys(ctx context.Context, addr string) []string {
	ctx, cancel := context.WithTimeout(ctx, hostKeyTimeout)
	defer cancel()
	var found [len(hostKeyAlgorithms)]string
	var wg sync.WaitGroup
	for i, algorithms := range hostKeyAlgorithms {
		wg.Go(func() { found[i] = shownKey(ctx, addr, algorithms) })
	}
	wg.Wait()
	var keys []string
	for _, k := range found {
		if k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// shownKey is the key that a service proves to have, or "".
func shownKey(ctx context.Context, addr string, algorithms []string) (key string) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
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
