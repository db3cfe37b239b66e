package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/cloudlab"
)

// sshd10 starts the sshd of Debian 13, with its defaults, on ports 22 and 2222
// of a board's loopback. It returns the key that may log in as root.
func sshd10(t *testing.T, b *cloudlab.Board) (key string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	root := filepath.Join(cache, "s4t-sshd10")
	must(t, os.MkdirAll(cache, 0o755))
	if out, err := exec.CommandContext(t.Context(), filepath.Join("..", "scripts", "debian13"), root, "openssh-server").CombinedOutput(); err != nil {
		t.Skipf("the OpenSSH of Debian 13 cannot be fetched here: %v: %s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "sshd")
	must(t, os.Mkdir(dir, 0o755))
	key = filepath.Join(dir, "id")
	for _, k := range []string{filepath.Join(dir, "host"), key, filepath.Join(dir, "wrong")} {
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "sshd_config"), []byte("Port 22\nPort 2222\nListenAddress 127.0.0.1\nHostKey /tmp/host\nAuthorizedKeysFile /tmp/id.pub\n"+
		"PidFile none\nStrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\n"), 0o600))
	// The root is shared with other tests; what is mounted there is this one's only.
	const start = `mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount --bind "$1" "$0/tmp" && exec chroot "$0" /usr/sbin/sshd -D -e -f /tmp/sshd_config`
	_, err = b.Host.Start(b.Name+"-sshd10", nil, "unshare", "-m", "sh", "-c", start, root, dir)
	must(t, err)
	for _, tcpPort := range []int{22, 2222} {
		must(t, b.Host.WaitListen(tcpPort, time.Minute)) // without a connection, which it would hold against us
	}
	return key
}

// TestSSHWithOpenSSH10: sshd 9.8 and newer punish a source address for logins
// that fail and for connections that end before one. Behind a tunnel all users
// had one address, and lightning-rod's own questions counted too.
func TestSSHWithOpenSSH10(t *testing.T) {
	c := newCloud(t, 1)
	lab, b := c.Lab, c.Boards[0]
	key := sshd10(t, b)
	wrong := filepath.Join(filepath.Dir(key), "wrong")
	ssh := func(identity string, more ...string) []string {
		args := []string{"ssh", "board1", "--user", "root", "--identity", identity, "--ssh-option", "BatchMode=yes", "--ssh-option", "IdentitiesOnly=yes"}
		return append(append(args, more...), "--", "echo", "over")
	}
	for i := range 10 {
		if got := runS4T(t, c, ssh(key)...); got != "over\n" {
			t.Fatalf("call %d says %q", i+1, got)
		}
	}
	if got := runS4T(t, c, ssh(key, "--port", "2222")...); got != "over\n" {
		t.Errorf("on another port it says %q", got)
	}

	// More quiet sessions of one user than may be there before a login.
	var crowd sync.WaitGroup
	for i := range 12 {
		crowd.Go(func() {
			args := ssh(key, "--ssh-option", "KexAlgorithms=curve25519-sha256") // the shortest handshake
			out, err := c.S4T(t.Context(), append(args[:len(args)-2], "sleep 20 && echo over")...)
			if err != nil || out != "over\n" {
				t.Errorf("session %d of many: %q, %v", i, out, err)
			}
		})
	}
	crowd.Wait()

	password := filepath.Join(lab.Dir, "password")
	must(t, os.WriteFile(password, []byte("correct-horse-battery\n"), 0o600))
	contexts := filepath.Join(lab.Dir, "maria.toml")
	s4tBin := filepath.Join(bin, "s4t")
	for _, line := range []string{
		s4tBin + " user create maria --project default --role member --password-stdin < " + password,
		s4tBin + " --context-file " + contexts + " login " + cloudlab.URL + " --user maria --ca " + filepath.Join(c.Data, "ca.pem") + " --password-stdin < " + password,
	} {
		_, err := lab.User.Run(t.Context(), append([]string{"env"}, append(c.Env(), "bash", "-c", line)...)...)
		must(t, err)
	}
	maria := func() string { // with a wrong key
		cmd := lab.User.Command(t.Context(), append([]string{s4tBin, "--context-file", contexts}, ssh(wrong)...)...)
		cmd.Env = append(os.Environ(), c.Env()...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("a wrong key logs in: %s", out)
		}
		return string(out)
	}
	punished := false
	for range 8 { // four are enough for its default of 15 s
		if out := maria(); strings.Contains(out, "refuses this user for a while") {
			punished = true
			break
		}
	}
	if !punished {
		t.Error("this sshd punishes nobody, or its words are not told")
	}
	if got := runS4T(t, c, ssh(key)...); got != "over\n" {
		t.Errorf("another user's wrong keys: it says %q", got)
	}
	log, err := os.ReadFile(filepath.Join(lab.Dir, b.Name+"-sshd10.log"))
	if err != nil || !strings.Contains(string(log), "from 127.") || strings.Contains(string(log), "from 127.0.0.1 ") {
		t.Errorf("its log does not tell users apart: %v\n%s", err, log)
	}
}
