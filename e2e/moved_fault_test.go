package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/netlab"
)

// TestFaultCloudMoved: the cloud comes up at another address, and DNS says so.
func TestFaultCloudMoved(t *testing.T) {
	t.Parallel()
	lab := newLab(t, 2)
	zone := filepath.Join(lab.Dir, "zone")
	must(t, os.WriteFile(zone, []byte(netlab.CloudAddr), 0o600))
	hosts := []*netlab.Host{lab.User, lab.Boards()[0].Host, lab.Boards()[1].Host}
	for _, h := range hosts {
		dir := filepath.Join("/etc/netns", h.NS) // ip-netns(8) puts its files over those in /etc
		must(t, os.MkdirAll(dir, 0o755))
		t.Cleanup(func() { os.RemoveAll(dir) })
		must(t, os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver "+netlab.UserAddr+"\n"), 0o644))
	}
	_, err := lab.User.Start("dns", []string{"S4T_E2E_DNS=" + zone}, os.Args[0], "-test.run", "^TestHelperDNS$")
	must(t, err)
	w := newWorldOn(t, joinBoards(t, startCloud(t, lab, "--url", "https://cloud.test:8812"), 2))

	const moved = "203.0.113.99"
	w.Process.Kill()
	_, err = lab.Cloud.Run(t.Context(), "ip", "addr", "flush", "dev", "eth0")
	must(t, err)
	time.Sleep(3 * time.Second) // nobody is there
	_, err = lab.Cloud.Run(t.Context(), "ip", "addr", "add", moved+"/24", "dev", "eth0")
	must(t, err)
	w.Listen = moved + ":8812"
	must(t, w.Cloud.Run())
	must(t, os.WriteFile(zone, []byte(moved), 0o600))
	w.healsAndTidies(t, "the cloud's address moved, told by DNS")
}
