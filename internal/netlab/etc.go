package netlab

import (
	"os"
	"path/filepath"
)

// etcDir is where `ip netns exec` looks for files to put over those of /etc
// (ip-netns(8)).
const etcDir = "/etc/netns"

// Etc gives the host a file of /etc of its own: "hosts", "resolv.conf". What
// is started in the host from now on sees it. It goes with the lab.
func (h *Host) Etc(name, text string) error {
	dir := filepath.Join(etcDir, h.NS)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// removeEtc removes what Etc made for a namespace.
func removeEtc(ns string) error {
	if err := os.RemoveAll(filepath.Join(etcDir, ns)); err != nil {
		return err
	}
	os.Remove(etcDir) // stays where somebody else's is in it
	return nil
}
