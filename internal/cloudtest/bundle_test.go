package cloudtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// bigBundle is a bundle with so many bytes that cannot be compressed; nobody tries.
func bigBundle(t *testing.T, size int) (packed []byte, digest string) {
	t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{5}).Read(data)
	var out bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&out, gzip.NoCompression)
	w := tar.NewWriter(zip)
	for _, f := range []struct {
		name string
		text []byte
	}{
		{"plugin.toml", []byte("name = \"big\"\nversion = \"1\"\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"job\"\n")},
		{"run.sh", []byte("#!/bin/sh\nwc -c <data\n")}, {"data", data},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return out.Bytes(), hex.EncodeToString(sum[:])
}

// TestABigBundleOverALinkThatIsCut: 50 MB through the whole cloud (a fifth of it under the
// race detector, which has nothing more to see of the rest) arrive once, though it
// is cut five times meanwhile, the first time with the board's session.
func TestABigBundleOverALinkThatIsCut(t *testing.T) {
	l := newPluginLab(t, Config{})
	size := int64(50 << 20)
	if raceEnabled {
		size /= 5
	}
	packed, digest := bigBundle(t, int(size))
	l.put("big", packed, digest, int64(len(packed)))
	before, _ := l.board.Proxy.Received()
	l.board.Proxy.CutAt(size/50, size/4, size/3, size*2/3, size*19/20)
	l.done(l.client.InjectPlugin(t.Context(), "kitchen", "big", apiclient.PluginInject{}))
	if err := l.wait(func() bool { return l.has("big").State == s4t.PluginDone }); err != nil {
		t.Fatalf("%v: %+v", err, l.has("big"))
	}
	received, cuts := l.board.Proxy.Received()
	if received -= before; cuts > 0 || received < size || received > size*3/2 {
		t.Errorf("the board received %d bytes, and was not cut %d times", received, cuts)
	}
	lines, err := l.client.PluginLogs(t.Context(), "kitchen", "big", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if line.Stream == "stdout" && line.Text == strconv.FormatInt(size, 10) {
			return
		}
	}
	t.Errorf("what it found of its data: %+v", lines)
}
