// Package labvm boots small virtual machines for tests: Debian's kernel and a
// busybox, with modules that the kernel of the test machine may lack (gretap).
// They run under qemu's own emulation, so /dev/kvm is not needed and nothing
// about speed can be learned from them.
//
// Nothing of the kernel's package is installed: scripts/vm-kernel unpacks it
// into a directory.
package labvm

import (
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Config says what is in a machine.
type Config struct {
	Dir     string            // required: where scripts/vm-kernel has put the kernel
	Modules []string          // names of kernel modules; what they need comes along
	Tools   []string          // programs of this machine, found in PATH; in the guest they are /tools/NAME
	Files   map[string]string // programs by their name in the guest's /tools; files of this machine
	Script  string            // for busybox sh, run as root; its end powers the machine off
	TAP     string            // the TAP that eth0 is joined to; "": there is no eth0
	MAC     string            // of eth0
}

// programs that must be there.
var programs = map[string]string{"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static"}

// always are the modules that every machine has.
var always = []string{"virtio_pci", "virtio_net"}

// Missing returns why no machine can be booted here, or "".
func Missing(dir string) string {
	if os.Geteuid() != 0 {
		return "needs root to join a virtual machine to a network"
	}
	for p, pkg := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return "needs " + p + ": make test-vm installs the package " + pkg
		}
	}
	if _, err := kernel(dir); err != nil {
		return "needs a kernel in " + dir + ": make test-vm puts one there"
	}
	return ""
}

// kernel returns the version of the kernel in dir.
func kernel(dir string) (string, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err == nil && len(images) == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(filepath.Base(images[len(images)-1]), "vmlinuz-"), nil
}

// Command packs the machine's file system into initrd, and returns the command
// that boots it. Its console is standard output.
func Command(cfg Config, initrd string) ([]string, error) {
	version, err := kernel(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find a kernel: %w", err)
	}
	if err := pack(cfg, version, initrd); err != nil {
		return nil, fmt.Errorf("pack the file system of a virtual machine: %w", err)
	}
	argv := []string{
		"qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(cfg.Dir, "boot", "vmlinuz-"+version), "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 net.ifnames=0",
	}
	if cfg.TAP != "" {
		argv = append(argv, "-netdev", "tap,id=n0,ifname="+cfg.TAP+",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0,romfile=,mac="+cfg.MAC)
	}
	return argv, nil
}

// first is the first process of the guest.
const first = `#!/bin/busybox sh
export PATH=/tools:/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m || echo "labvm: no module $m"; done
/tools/ip link set lo up
sh /script
echo "labvm: script ended with $?"
poweroff -f
`

// pack writes the initramfs.
func pack(cfg Config, version, initrd string) error {
	f, err := os.Create(initrd)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err != nil {
		return err
	}
	a := newArchive(z)
	a.add("init", 0o755, []byte(first))
	a.add("script", 0o755, []byte(cfg.Script))
	if err := a.program("busybox", "bin"); err != nil {
		return err
	}
	for _, t := range append([]string{"ip"}, cfg.Tools...) {
		if err := a.program(t, "tools"); err != nil {
			return err
		}
	}
	for name, file := range cfg.Files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		a.add("tools/"+name, 0o755, content)
	}
	order, err := a.modules(filepath.Join(cfg.Dir, "lib", "modules", version), append(always[:len(always):len(always)], cfg.Modules...))
	if err != nil {
		return err
	}
	a.add("modules/order", 0o644, []byte(strings.Join(order, "\n")+"\n"))
	if err := a.close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}
