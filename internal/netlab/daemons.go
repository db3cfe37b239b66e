package netlab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// SSHD is a real sshd on 127.0.0.1:22 of a host, with a key that opens it.
type SSHD struct {
	Process *Process
	Key     string // private key file that may log in as root
	HostKey string // public host key, authorized_keys form
}

// StartSSHD starts one.
func (h *Host) StartSSHD() (*SSHD, error) {
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		return nil, fmt.Errorf("sshd in %s: openssh-server is not installed (make deps)", h.Name)
	}
	dir := filepath.Join(h.lab.Dir, h.Name+"-sshd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // sshd insists on it (PRIVSEP_PATH)
		return nil, err
	}
	hostKey, key := filepath.Join(dir, "host_ed25519"), filepath.Join(dir, "id_ed25519")
	for _, k := range []string{hostKey, key} {
		if err := run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", k); err != nil {
			return nil, err
		}
	}
	conf := fmt.Sprintf("Port 22\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s.pub\nPidFile none\nUsePAM no\nStrictModes no\n"+
		"PermitRootLogin prohibit-password\nPasswordAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n", hostKey, key)
	file := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	pub, err := os.ReadFile(hostKey + ".pub")
	if err != nil {
		return nil, err
	}
	p, err := h.Start(h.Name+"-sshd", nil, sshd, "-D", "-e", "-f", file)
	if err != nil {
		return nil, err
	}
	return &SSHD{Process: p, Key: key, HostKey: string(pub)}, h.WaitTCP("127.0.0.1", 22, time.Minute)
}

// WaitTCP waits until a TCP port of the host answers.
func (h *Host) WaitTCP(addr string, tcpPort int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := h.run("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d", addr, tcpPort))
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: nothing answers on %s:%d within %v", h.Name, addr, tcpPort, timeout)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Avahi is a real avahi-daemon with a message bus of its own.
type Avahi struct {
	h   *Host
	env []string
}

// StartAvahi starts avahi-daemon on one interface of the host, under a host
// name.
func (h *Host) StartAvahi(hostname, iface string) (*Avahi, error) {
	for _, tool := range []string{"avahi-daemon", "avahi-browse", "dbus-daemon"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("avahi in %s: %s is not installed (make deps)", h.Name, tool)
		}
	}
	dir := filepath.Join(h.lab.Dir, h.Name+"-avahi")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	os.Chmod(h.lab.Dir, 0o755) // avahi's own user must reach the bus
	bus := filepath.Join(dir, "bus")
	files := map[string]string{
		"bus.conf": `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=` + bus + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/><allow send_type="method_return"/><allow send_type="error"/><allow receive_type="method_call"/><allow receive_type="signal"/><allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>`,
		"avahi.conf": "[server]\nhost-name=" + hostname + "\nuse-ipv4=yes\nuse-ipv6=yes\nallow-interfaces=" + iface + "\nenable-dbus=yes\n[wide-area]\nenable-wide-area=no\n[publish]\npublish-hinfo=no\npublish-workstation=no\n[rlimits]\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if _, err := h.Start(h.Name+"-dbus", nil, "dbus-daemon", "--config-file="+filepath.Join(dir, "bus.conf"), "--nofork", "--nopidfile"); err != nil {
		return nil, err
	}
	for range 250 {
		if _, err := os.Stat(bus); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	a := &Avahi{h: h, env: []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + bus}}
	// A mount namespace of its own: avahi-daemon keeps its pid file in a fixed place.
	_, err := h.Start(h.Name+"-avahi", a.env, "unshare", "-m", "sh", "-c",
		"mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && exec avahi-daemon -f "+filepath.Join(dir, "avahi.conf")+" --no-drop-root --no-rlimits --no-chroot")
	return a, err
}

// Publish announces a service until the lab closes.
func (a *Avahi) Publish(name, kind string, tcpPort int) error {
	_, err := a.h.Start(a.h.Name+"-publish", a.env, "avahi-publish", "-f", "-s", name, kind, fmt.Sprint(tcpPort))
	return err
}

// Browse returns what avahi-browse finds of a kind of service, resolved, in
// its parsable form.
func (a *Avahi) Browse(ctx context.Context, kind string) (string, error) {
	cmd := a.h.Command(ctx, "avahi-browse", "-p", "-r", "-t", kind)
	cmd.Env = append(os.Environ(), a.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// WaitListen waits until something listens on a TCP port of the host.
func (h *Host) WaitListen(tcpPort int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		out, err := h.Run(context.Background(), "ss", "-Hltn", fmt.Sprintf("sport = :%d", tcpPort))
		if err == nil && out != "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: nothing listens on %d within %v", h.Name, tcpPort, timeout)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
