package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0Ngw0H4nDqC2f3dN1mJ8m3mLsW0m9p1d1x1nK2Xm1e"

func TestProxyCommandSurvivesAnyPathOfThisProgram(t *testing.T) {
	for _, path := range []string{"/usr/bin/s4t", "/home/o'neil/my bin/s4t", "/tmp/$(touch x)`y`;z", `/a\b"c`} {
		got := proxyCommand(path, kitchenID)
		// As ssh does it: percent signs are expanded, then a shell reads it.
		expanded := strings.NewReplacer("%%", "%", "%p", "22").Replace(got)
		out, err := exec.Command("/bin/sh", "-c", "show() { printf '%s\\n' \"$@\"; }; "+"show "+expanded).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := path + "\nconnect\n" + kitchenID + "\n22\n"; string(out) != want {
			t.Errorf("%s: the shell reads %q", path, out)
		}
	}
	if got := proxyCommand("/100%/s4t", kitchenID); !strings.Contains(got, "/100%%/s4t") {
		t.Errorf("a percent sign is expanded: %s", got)
	}
}

func TestSSHArgs(t *testing.T) {
	board := s4t.Board{ID: kitchenID, Name: "kitchen"}
	got := sshArgs("/s4t", hostKeys{path: "/home/u/k", alias: "s4t-" + kitchenID}, true, board, sshFlags{user: "root", identity: "key", tcpPort: 2222, options: []string{"ForwardAgent=yes"}}, []string{"uname", "-a"})
	want := []string{
		"-o", "ForwardAgent=yes",
		"-o", "ProxyCommand='/s4t' connect " + kitchenID + " %p",
		"-o", "HostKeyAlias=s4t-" + kitchenID,
		"-o", `UserKnownHostsFile="/home/u/k"`,
		"-o", "StrictHostKeyChecking=yes", "-o", "CheckHostIP=no", "-o", "UpdateHostKeys=no",
		"-p", "2222", "-l", "root", "-i", "key", "--", "kitchen", "uname", "-a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := sshArgs("/s4t", hostKeys{path: "/k", alias: "s4t-" + kitchenID}, false, board, sshFlags{tcpPort: 22}, nil); !slices.Contains(got, "StrictHostKeyChecking=accept-new") {
		t.Errorf("without reported keys: %q", got)
	}
}

func TestSSHItselfUnderstandsTheArguments(t *testing.T) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("needs OpenSSH: apt-get install openssh-client")
	}
	known := filepath.Join(t.TempDir(), `odd "name" 100%`)
	args := sshArgs("/usr/bin/s4t", hostKeys{path: known, alias: "s4t-" + kitchenID}, true, s4t.Board{ID: kitchenID, Name: "kitchen"}, sshFlags{tcpPort: 2222, user: "root"}, nil)
	out, err := exec.CommandContext(context.Background(), program, append([]string{"-G", "-F", "none"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"port 2222", "user root", "hostkeyalias s4t-" + kitchenID, "stricthostkeychecking true", "hostname kitchen", "proxycommand '/usr/bin/s4t' connect " + kitchenID + " %p"} {
		if !slices.Contains(strings.Split(string(out), "\n"), want) {
			t.Errorf("ssh does not say %q in:\n%s", want, out)
		}
	}
}

func TestHostKeysAreThoseTheAgentReportsElseAcceptedOnFirstUse(t *testing.T) {
	line := "s4t-" + kitchenID + " " + hostKey + "\n"
	for _, tt := range []struct {
		name     string
		reported []string
		kept     string
		strict   bool
		after    string // what is kept then
	}{
		{"nothing reported", nil, "", false, ""},
		{"nothing reported, and accepted before", nil, "accepted\n", false, "accepted\n"},
		{"reported", []string{hostKey + " root@kitchen"}, "", true, line},
		{"reported, and kept since", []string{hostKey}, line, true, line},
		{"reported anew: the board was set up again", []string{hostKey}, "an older key\n", true, line},
		{"a board slips in lines", []string{"* ssh-rsa AAAA", "junk\n* ssh-ed25519 AAAA", hostKey + "\nx y z"}, "", true, line},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			a := &app{env: func(k string) string { return map[string]string{"HOME": home}[k] }}
			keys := a.hostKeys(s4t.Board{ID: kitchenID, Name: "kitchen"}, 22, tt.reported)
			if tt.kept != "" {
				os.MkdirAll(filepath.Dir(keys.path), 0o700)
				if err := os.WriteFile(keys.path, []byte(tt.kept), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			strict, err := keys.settle()
			if err != nil || strict != tt.strict {
				t.Errorf("strict %v, %v", strict, err)
			}
			if b, _ := os.ReadFile(keys.path); string(b) != tt.after {
				t.Errorf("kept %q, want %q", b, tt.after)
			}
			left, _ := os.ReadDir(filepath.Dir(keys.path))
			if len(left) > 1 {
				t.Errorf("%d files are left", len(left))
			}
		})
	}
	a := &app{env: func(string) string { return "/home/u" }}
	if k := a.hostKeys(s4t.Board{ID: kitchenID}, 2222, nil); !strings.HasSuffix(k.path, "/known_hosts.d/"+kitchenID+"-2222") || k.alias != "s4t-"+kitchenID+"-2222" {
		t.Errorf("another service: %+v", k)
	}
}

// TestWhatSSHDSaysBeforeItsBannerIsTold: ssh itself only says that the
// connection was closed.
func TestWhatSSHDSaysBeforeItsBannerIsTold(t *testing.T) {
	for said, want := range map[string]string{
		"Not allowed at this time\r\n":     "refuses this user",
		"Exceeded MaxStartups\r\n":         "not logged in",
		"SSH-2.0-OpenSSH_10.0\r\n":         "",
		"HTTP/1.1 403 Not allowed at this": "",
		"":                                 "",
	} {
		var out bytes.Buffer
		g := greeting{to: &out}
		for _, b := range []byte(said) { // in the smallest pieces
			g.Write([]byte{b})
		}
		g.Write(make([]byte, 1000))
		err := g.refusal()
		if out.Len() != len(said)+1000 || (err == nil) != (want == "") || err != nil && !strings.Contains(streamEnd(err).Error(), want) {
			t.Errorf("%q: %v, %d bytes are passed on", said, err, out.Len())
		}
	}
}
