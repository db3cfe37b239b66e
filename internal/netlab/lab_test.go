package netlab

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func lab(t *testing.T, boards int) *Lab {
	t.Helper()
	if why := Missing(); why != "" {
		t.Skip(why)
	}
	l, err := New(boards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob("/run/netns/" + l.name + "*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return l
}

func TestBoardsReachTheCloudAndNothingReachesThem(t *testing.T) {
	l := lab(t, 2)
	for _, b := range l.Boards() {
		if _, err := b.Run(t.Context(), "ping", "-c1", "-W2", CloudAddr); err != nil {
			t.Error(err)
		}
		if _, err := l.Cloud.Run(t.Context(), "ping", "-c1", "-W1", BoardAddr); err == nil {
			t.Errorf("the cloud reaches %s directly", b.Name)
		}
	}
}

func TestACutIsSilentForTheBoard(t *testing.T) {
	l := lab(t, 1)
	b := l.Boards()[0]
	for _, step := range []struct {
		name string
		do   func() error
		want bool
	}{{"cut", b.Cut, false}, {"healed", b.Heal, true}} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		_, err := b.Run(t.Context(), "ping", "-c3", "-W1", CloudAddr) // one answer is enough
		if (err == nil) != step.want {
			t.Errorf("%s: ping = %v", step.name, err)
		}
		if out, _ := b.Run(t.Context(), "ip", "link", "show", "eth0"); !strings.Contains(out, "LOWER_UP") {
			t.Errorf("%s: the board's own link is down: %s", step.name, out)
		}
	}
}

func TestBigPacketsVanishOnAShrunkPath(t *testing.T) {
	l := lab(t, 1)
	b := l.Boards()[0]
	if err := b.ShrinkPath(1124); err != nil {
		t.Fatal(err)
	}
	// ICMP is blocked, so bytes are counted with UDP.
	got := make(chan string, 1)
	go func() {
		out, _ := l.Cloud.Run(t.Context(), "timeout", "2", "tcpdump", "-lnni", "eth0", "udp port 9")
		got <- out
	}()
	time.Sleep(500 * time.Millisecond) // tcpdump has no way to say that it listens
	for _, size := range []string{"1000", "1200"} {
		if _, err := b.Run(t.Context(), "bash", "-c", "head -c "+size+" /dev/zero > /dev/udp/"+CloudAddr+"/9"); err != nil {
			t.Fatal(err)
		}
	}
	if out := <-got; !strings.Contains(out, "length 1000") || strings.Contains(out, "length 1200") {
		t.Errorf("captured:\n%s", out)
	}
}

func TestAvahiFindsAvahi(t *testing.T) {
	if _, err := exec.LookPath("avahi-daemon"); err != nil {
		t.Skip("avahi-daemon is not installed (make deps)")
	}
	l := lab(t, 0)
	one, err := l.Cloud.StartAvahi("one", "eth0")
	if err != nil {
		t.Fatal(err)
	}
	two, err := l.User.StartAvahi("two", "eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Publish("gate", "_s4t._tcp", 4000); err != nil {
		t.Fatal(err)
	}
	var out string
	for range 20 {
		if out, _ = two.Browse(t.Context(), "_s4t._tcp"); strings.Contains(out, "one.local") {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Errorf("avahi-browse finds nothing: %s", out)
}

func TestSSHDAnswers(t *testing.T) {
	l := lab(t, 0)
	s, err := l.Cloud.StartSSHD()
	if err != nil {
		t.Skip(err)
	}
	out, err := l.Cloud.Run(t.Context(), "ssh", "-i", s.Key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "root@127.0.0.1", "echo", "hello")
	if err != nil || !strings.Contains(out, "hello") {
		t.Errorf("ssh = %q, %v", out, err)
	}
}
