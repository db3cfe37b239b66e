package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
)

// sshd starts a real sshd on a board.
func sshd(t *testing.T, b *cloudlab.Board) *netlab.SSHD {
	t.Helper()
	d, err := b.Host.StartSSHD()
	if err != nil {
		t.Skip(err)
	}
	return d
}

// sum is the SHA-256 of a file, in hex.
func sum(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// randomFile makes a file of n random bytes.
func randomFile(t *testing.T, dir, name string, n int) string {
	t.Helper()
	var seed [32]byte
	r := rand.NewChaCha8(seed)
	b := make([]byte, n)
	r.Read(b)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSSHThroughTheHTTPSPort(t *testing.T) {
	c := newCloud(t, 1)
	d := sshd(t, c.Boards[0])
	if got := runS4T(t, c, "ssh", "board1", "--user", "root", "--identity", d.Key, "--ssh-option", "BatchMode=yes", "--", "echo", "hello from the board"); got != "hello from the board\n" {
		t.Errorf("s4t ssh printed %q", got)
	}
	t.Run("the remote status is ours", func(t *testing.T) {
		s4tFails(t, c, 7, "ssh", "board1", "--user", "root", "--identity", d.Key, "--", "exit 7")
	})
	t.Run("half-close is kept both ways", func(t *testing.T) {
		cmd := c.Lab.User.Command(t.Context(), filepath.Join(bin, "s4t"), "connect", "board1", "22")
		cmd.Env = append(os.Environ(), c.Env()...)
		cmd.Stdin = strings.NewReader("SSH-2.0-test\r\n") // then end of input
		out, err := cmd.Output()
		if err != nil || !bytes.HasPrefix(out, []byte("SSH-2.0-OpenSSH")) {
			t.Errorf("connect = %q, %v", out, err)
		}
	})
	t.Run("a board that is not there", func(t *testing.T) {
		s4tFails(t, c, 3, "ssh", "nowhere")
		c.Boards[0].Process.Stop()
		within(t, 10*time.Second, "offline", func() error { return status(t, c, "board1", s4t.BoardOffline) })
		s4tFails(t, c, 5, "connect", "board1", "22")
	})
}

func TestExposedServiceCarriesAFile(t *testing.T) {
	c := newCloud(t, 1)
	d := sshd(t, c.Boards[0])
	var svc s4t.Service
	s4tJSON(t, c, &svc, "service", "expose", "board1", "ssh")
	if svc.Host != netlab.CloudAddr || svc.PublicPort < 50000 || svc.PublicPort > 60000 || svc.TCPPort != 22 || svc.Status != s4t.ServiceUp {
		t.Fatalf("service = %+v", svc)
	}
	size := 100 << 20
	file := randomFile(t, c.Lab.Dir, "big", size)
	back := filepath.Join(c.Lab.Dir, "back")
	opts := []string{"-i", d.Key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-P", strconv.Itoa(svc.PublicPort)}
	there := "root@" + svc.Host + ":" + filepath.Join(c.Lab.Dir, "there")
	start := time.Now()
	for _, pair := range [][2]string{{file, there}, {there, back}} {
		if _, err := c.Lab.User.Run(t.Context(), append(append([]string{"scp", "-q"}, opts...), pair[0], pair[1])...); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("scp of %d MB there and back: %v", size>>20, time.Since(start).Round(time.Millisecond))
	if sum(t, file) != sum(t, back) {
		t.Error("the file that came back differs")
	}
	s4tFails(t, c, 6, "service", "expose", "board1", "22")
	runS4T(t, c, "service", "hide", "board1", "ssh")
	if err := c.Lab.User.WaitTCP(svc.Host, svc.PublicPort, 0); err == nil {
		t.Error("the public port still answers after hide")
	}
}

func TestHTTPServerOfABoard(t *testing.T) {
	c := newCloud(t, 1)
	file := randomFile(t, c.Lab.Dir, "page", 3<<20)
	srv, err := c.Boards[0].Host.Start("httpd", nil, "python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", c.Lab.Dir)
	if err != nil {
		t.Skip(err)
	}
	if err := c.Boards[0].Host.WaitTCP("127.0.0.1", 8000, time.Minute); err != nil {
		t.Skipf("no python3 to serve HTTP with: %v\n%s", err, srv.Tail(5))
	}
	var svc s4t.Service
	s4tJSON(t, c, &svc, "service", "expose", "board1", "8000")
	got := filepath.Join(c.Lab.Dir, "got")
	if _, err := c.Lab.User.Run(t.Context(), "curl", "-sfo", got, fmt.Sprintf("http://%s:%d/page", svc.Host, svc.PublicPort)); err != nil {
		t.Fatal(err)
	}
	if sum(t, file) != sum(t, got) {
		t.Error("curl got another file")
	}
}

func TestABoardWithoutRootServesStreamsAndSaysWhatItLacks(t *testing.T) {
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("setpriv (util-linux) is not installed")
	}
	lab := newLab(t, 1)
	c, err := cloudlab.Start(lab, bin)
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, c)
	var made s4t.Board
	s4tJSON(t, c, &made, "board", "create", "plain")
	state := filepath.Join(lab.Dir, "plain")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	os.Chmod(lab.Dir, 0o755)
	os.Chown(state, 65534, 65534)
	// A copy that nobody may read and run, wherever the programs lie.
	prog := filepath.Join(lab.Dir, "lightning-rod")
	b, err := os.ReadFile(filepath.Join(bin, "lightning-rod"))
	if err == nil {
		err = os.WriteFile(prog, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	board := lab.Boards()[0]
	p, err := board.Host.Start("plain", nil, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", prog, "join", made.Join, "--state", state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitLine("ready plain ", 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	d, err := board.Host.StartSSHD()
	if err != nil {
		t.Skip(err)
	}
	if got := runS4T(t, c, "ssh", "plain", "--user", "root", "--identity", d.Key, "--", "echo", "ok"); got != "ok\n" {
		t.Errorf("s4t ssh = %q", got)
	}
	runS4T(t, c, "bridge", "create", "lab", "--board", "plain", "--no-wait")
	within(t, 5*time.Second, "the board says what it lacks", func() error {
		var now s4t.Board
		if err := c.JSON(t.Context(), &now, "board", "show", "plain"); err != nil {
			return err
		}
		if all := strings.Join(now.Problems, "\n"); !strings.Contains(all, "/dev/net/tun") && !strings.Contains(all, "CAP_NET_ADMIN") {
			return fmt.Errorf("problems: %q", all)
		}
		return nil
	})
}
