package lightningrod

import (
	"crypto/ed25519"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/stack4things/s4t/wire"
)

func TestHostKeysAreThoseOfTheServiceThatAnswers(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	conf := &ssh.ServerConfig{NoClientAuth: true}
	conf.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		for range hostKeyAlgorithms {
			c, err := l.Accept()
			if err != nil {
				return
			}
			ssh.NewServerConn(c, conf)
			c.Close()
		}
	}()
	ask := func(q string) wire.HostKeys {
		answer, err := askHostKeys(t.Context(), q)
		var h wire.HostKeys
		if err != nil || json.Unmarshal([]byte(answer), &h) != nil {
			t.Fatalf("asked %s: %q, %v", q, answer, err)
		}
		return h
	}
	tcpPort := l.Addr().(*net.TCPAddr).Port
	got := ask(string(wire.Encode(wire.HostKeysAsk{TCPPort: tcpPort})))
	want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	if len(got.Keys) != 1 || got.Keys[0] != want {
		t.Errorf("keys %q, want %q", got.Keys, want)
	}
	<-served
	l.Close()
	for _, q := range []string{string(wire.Encode(wire.HostKeysAsk{TCPPort: tcpPort})), `{"port":0}`, `{"port":70000}`, `junk`} {
		if got := ask(q); len(got.Keys) != 0 {
			t.Errorf("asked %s: %q, want none", q, got.Keys)
		}
	}
}
