package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
)

// trustLab is a cloud and its boards as processes on this machine's loopback;
// all but the cloud have the CA "public" among their system's roots.
type trustLab struct {
	*testing.T
	dir    string
	listen string // ADDR:PORT; empty before the first start
	iot    *exec.Cmd
	ended  chan error
	log    *lockedBuffer
}

// lockedBuffer is what a process says.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *trustLab) path(name string) string { return filepath.Join(l.dir, name) }

// issue makes a CA and a certificate of it for loopback: NAME-ca.pem, NAME.pem
// and NAME.key.
func (l *trustLab) issue(name string) {
	l.Helper()
	write := func(file, kind string, der []byte) {
		must(l.T, os.WriteFile(l.path(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	tmpl := func(cn string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), BasicConstraintsValid: true}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(l.T, err)
	ca := tmpl(name + " CA")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(l.T, err)
	write(name+"-ca.pem", "CERTIFICATE", der)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(l.T, err)
	leaf := tmpl("127.0.0.1")
	leaf.IPAddresses, leaf.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err = x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(l.T, err)
	write(name+".pem", "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	must(l.T, err)
	write(name+".key", "PRIVATE KEY", der)
}

// configure writes iotronic.toml with these lines in its table tls.
func (l *trustLab) configure(lines ...string) {
	l.Helper()
	listen := l.listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	text := fmt.Sprintf("data = %q\nlisten = %q\n[tls]\n%s\n", l.path("data"), listen, strings.Join(lines, "\n"))
	must(l.T, os.WriteFile(l.path("iotronic.toml"), []byte(text), 0o600))
}

// cert are the keys of a certificate of issue.
func (l *trustLab) cert(name string) string {
	return fmt.Sprintf("cert = %q\nkey = %q", l.path(name+".pem"), l.path(name+".key"))
}

// start runs the cloud, and returns how it ended where it is not ready.
func (l *trustLab) start(args ...string) error {
	l.Helper()
	l.log = &lockedBuffer{}
	l.iot = exec.Command(filepath.Join(bin, "iotronic"), append([]string{"serve", "--config", l.path("iotronic.toml")}, args...)...)
	l.iot.Stderr = l.log
	out, err := l.iot.StdoutPipe()
	must(l.T, err)
	must(l.T, l.iot.Start())
	iot, ended := l.iot, make(chan error, 1)
	line, _ := bufio.NewReader(out).ReadString('\n')
	go func() {
		io.Copy(io.Discard, out)
		ended <- iot.Wait()
		close(ended)
	}()
	l.ended = ended
	l.Cleanup(func() { iot.Process.Kill(); <-ended })
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready https://")
	if !ok {
		return <-ended
	}
	l.listen = url
	return nil
}

// restart kills the cloud and starts it.
func (l *trustLab) restart(args ...string) {
	l.Helper()
	l.iot.Process.Kill()
	<-l.ended
	if err := l.start(args...); err != nil {
		l.Fatalf("iotronic ended: %v\n%s", err, l.log)
	}
}

// reload sends SIGHUP, and waits for what the log says of it.
func (l *trustLab) reload(says string) {
	l.Helper()
	n := len(l.log.String())
	must(l.T, l.iot.Process.Signal(syscall.SIGHUP))
	within(l.T, 20*time.Second, "the log says "+says, func() error {
		if text := l.log.String()[n:]; !strings.Contains(text, says) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
}

// run runs a program of a user, or of a board.
func (l *trustLab) run(program string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(bin, program), args...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+l.path("public-ca.pem"), "SSL_CERT_DIR="+l.path("none"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (l *trustLab) s4t(args ...string) string { return l.s4tAs("data/admin.toml", args...) }

// s4tAs runs s4t with the contexts of a file.
func (l *trustLab) s4tAs(contexts string, args ...string) string {
	l.Helper()
	out, err := l.run("s4t", append([]string{"--context-file", l.path(contexts)}, args...)...)
	if err != nil {
		l.Fatalf("s4t %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// board joins and runs one.
func (l *trustLab) board(name string) {
	l.Helper()
	var b s4t.Board
	must(l.T, json.Unmarshal([]byte(l.s4t("board", "create", name, "-o", "json")), &b))
	if out, err := l.run("lightning-rod", "join", b.Join, "--state", l.path(name), "--no-run"); err != nil {
		l.Fatalf("join: %v\n%s", err, out)
	}
	cmd := exec.Command(filepath.Join(bin, "lightning-rod"), "run", "--state", l.path(name))
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+l.path("public-ca.pem"), "SSL_CERT_DIR="+l.path("none"))
	must(l.T, cmd.Start())
	l.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
}

// epochs waits until the boards are online, and returns the epochs of their
// sessions, which grow with each.
func (l *trustLab) epochs() (epochs [2]int64) {
	l.Helper()
	within(l.T, time.Minute, "both boards are online", func() error {
		for i, name := range []string{"kitchen", "cellar"} {
			out, err := l.run("lightning-rod", "status", "--state", l.path(name), "-o", "json")
			if err != nil {
				return err
			}
			var s struct {
				Connected bool
				Epoch     int64
			}
			if err := json.Unmarshal([]byte(out), &s); err != nil || !s.Connected {
				return fmt.Errorf("%s: %s", name, out)
			}
			epochs[i] = s.Epoch
		}
		return nil
	})
	return epochs
}

// known waits until every board trusts what is announced.
func (l *trustLab) known() {
	l.Helper()
	within(l.T, time.Minute, "every board trusts what is announced", func() error {
		out, err := l.run("iotronic", "status", "--config", l.path("iotronic.toml"), "-o", "json")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var s cloud.Status
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			return err
		}
		if c := s.Certificate; s.Boards.Enrolled != 2 || len(c.Next) == 0 || len(c.NextUnknown) > 0 || len(c.Untrusting) > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// issuer is whom the certificate that the cloud shows is of.
func (l *trustLab) issuer() string {
	l.Helper()
	c, err := tls.Dial("tcp", l.listen, &tls.Config{InsecureSkipVerify: true})
	must(l.T, err)
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Issuer.CommonName
}

// back kills the cloud and starts it: both boards must find it again.
func (l *trustLab) back(before [2]int64) [2]int64 {
	l.Helper()
	l.restart()
	after := l.epochs()
	for i := range after {
		if after[i] <= before[i] {
			l.Errorf("epoch %d after a restart, %d before", after[i], before[i])
		}
	}
	return after
}

// TestAChangeOfCA walks from the cloud's own CA to a public one, to an own one
// again and to the next own one, with boards that stay.
func TestAChangeOfCA(t *testing.T) {
	l := &trustLab{T: t, dir: t.TempDir()}
	l.issue("public")
	l.issue("office")
	l.configure()
	if err := l.start(); err != nil {
		t.Fatalf("%v\n%s", err, l.log)
	}
	l.board("kitchen")
	l.board("cellar")
	before := l.epochs()
	own := l.issuer()
	// Somebody who logged in once, and uses s4t now and then.
	text, err := os.ReadFile(l.path("data/admin.toml"))
	must(t, err)
	must(t, os.WriteFile(l.path("user.toml"), text, 0o600))
	user := func() { l.Helper(); l.s4tAs("user.toml", "board", "list") }

	// A switch that was not announced is refused in every way, and said beforehand.
	l.configure(l.cert("public"))
	if out, err := l.run("iotronic", "config", "--check", l.path("iotronic.toml")); err == nil || !strings.Contains(out, "2 of 2 boards would be cut off") || !strings.Contains(out, "kitchen") {
		t.Errorf("config --check: %v, %s", err, out)
	}
	l.reload("2 of 2 boards would be cut off")
	if l.issuer() != own || l.epochs() != before {
		t.Errorf("after a reload that was refused: of %s, epochs %v, before %v", l.issuer(), l.epochs(), before)
	}
	l.iot.Process.Kill()
	<-l.ended
	if err := l.start(); err == nil || !strings.Contains(l.log.String(), "would be cut off") {
		t.Fatalf("the start is not refused: %v\n%s", err, l.log)
	}

	// From the own CA to a public one.
	l.configure(`next_ca = "system"`)
	l.restart()
	l.epochs()
	l.known()
	user()
	before = l.epochs()
	l.configure(l.cert("public"))
	if out, err := l.run("iotronic", "config", "--check", l.path("iotronic.toml")); err != nil {
		t.Errorf("config --check: %v, %s", err, out)
	}
	l.reload("read again")
	if got := l.issuer(); got != "public CA" {
		t.Errorf("after the reload it shows a certificate of %s", got)
	}
	if got := l.epochs(); got != before {
		t.Errorf("the reload ended sessions: %v, before %v", got, before)
	}
	l.s4t("board", "list") // the admin's context was told, too
	user()
	before = l.back(before)

	// Back to the own one, and to the next own one.
	l.configure(l.cert("public"), `next_ca = "own"`)
	before = l.back(before)
	l.known()
	user()
	l.configure(`next_ca = "own"`)
	l.reload("read again")
	if l.issuer() != own {
		t.Errorf("it shows a certificate of %s, not of %s", l.issuer(), own)
	}
	if out, err := l.run("iotronic", "switch-ca", "--config", l.path("iotronic.toml")); err == nil || !strings.Contains(out, "would be cut off") {
		t.Errorf("a switch before the boards were told: %v, %s", err, out)
	}
	before = l.back(before)
	l.known()
	user()
	if out, err := l.run("iotronic", "switch-ca", "--config", l.path("iotronic.toml")); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	l.configure()
	l.reload("read again")
	if l.issuer() == own {
		t.Error("it shows a certificate of the CA before")
	}
	l.back(before)
	l.s4t("board", "list")
	user()

	// Who accepts the loss gets it.
	l.configure(l.cert("office"), fmt.Sprintf("ca = %q", l.path("office-ca.pem")))
	l.restart("--cut-off-boards", "2")
	if got := l.issuer(); got != "office CA" {
		t.Errorf("it shows a certificate of %s", got)
	}
	l.restart() // that was accepted
}
