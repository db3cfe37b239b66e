package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/cloudlab"
)

// TestPictures takes those of the documentation, of a small cloud that runs: see `make screenshots`.
func TestPictures(t *testing.T) {
	dir := os.Getenv("S4T_PICTURES")
	if dir == "" {
		t.Skip("S4T_PICTURES is no folder to write pictures into: `make screenshots` has one")
	}
	dir, err := filepath.Abs(dir)
	must(t, err)
	must(t, os.MkdirAll(dir, 0o755))
	l := newDashboardLab(t, 4)
	for i, name := range []string{"kitchen", "garden", "greenhouse", "roof"} {
		var made struct{ Join string }
		s4tJSON(t, l.Cloud, &made, "board", "create", name, "--type", []string{"raspberry-pi-4", "arduino-yun"}[i%2], "--label", "site=messina", "--label", "room="+name)
		b := l.Adopt(&cloudlab.Board{Board: l.Lab.Boards()[i], Name: name, State: filepath.Join(l.Lab.Dir, name)})
		l.settle(t, b)
		must(t, b.Join(made.Join))
		must(t, b.WaitReady(0, time.Minute))
	}
	runS4T(t, l.Cloud, "board", "create", "cellar", "--type", "openwrt-router", "--label", "site=messina")
	runS4T(t, l.Cloud, "bridge", "create", "watering", "--board", "garden", "--board", "greenhouse")
	runS4T(t, l.Cloud, "service", "expose", "kitchen", "ssh")
	picture := func(name string, most int, do string, args step) {
		t.Helper()
		args["as"], args["file"] = "admin", filepath.Join(dir, name)
		var size int
		l.do(&size, do, args)
		t.Logf("%s: %d bytes", name, size)
		if size > most {
			t.Errorf("%s is %d bytes large, want at most %d", name, size, most)
		}
	}
	picture("bridge.png", 1_500_000, "film", step{"from": "kitchen", "onto": "roof", "width": 840, "height": 600})
	must(t, l.Boards[3].Process.Stop())
	l.do(nil, "boardIs", step{"as": "admin", "board": "roof", "status": "offline"})
	const most = 150_000
	picture("now.png", most, "picture", step{"path": ""})
	picture("boards.png", most, "picture", step{"path": "boards", "theme": "dark"})
	picture("topology.png", most, "picture", step{"path": "map", "height": 700})
	picture("network.png", most, "picture", step{"path": "networks/watering", "height": 700})
	picture("pins.png", most, "picture", step{"path": "boards/garden/pins", "charts": []string{"sim/demo/sine"}, "after": 20000, "height": 700})
	picture("board-narrow.png", most, "picture", step{"path": "boards/kitchen", "width": 360, "height": 720, "theme": "dark"})
}
