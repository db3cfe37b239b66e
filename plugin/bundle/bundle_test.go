package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
)

const full = `
name = "weather"
version = "1.2.0+a"
description = "Says what the weather is"
runtime = "python"
entry = ["weather.py", "--fast"]
kind = "callable"
protocol = "socket"
parallel = 4
network = true
api = "reader"
pins = ["sim/demo/*", "by-name/door"]

[resources]
cpu = "25%"
memory = "64M"
disk = 1048576
processes = 8

[health]
command = ["check.py"]
interval = "20s"
timeout = "1s"
retries = 2
grace = "1m"

[[commands]]
name = "zero"

[[commands]]
name = "at"
description = "The weather of a place"
timeout = "1m30s"
stream = true
result = '''{ "type": "string" }'''
[commands.params]
type = "object"
properties.place = { type = "string", maxLength = 40 }
`

const small = "version = \"1\"\nruntime = \"exec\"\nentry = \"run\"\n"

func TestManifest(t *testing.T) {
	got, err := ParseManifest([]byte(full))
	want := Manifest{
		Name: "weather", Version: "1.2.0+a", Description: "Says what the weather is", Runtime: s4t.RuntimePython, Kind: s4t.PluginCallable,
		Entry: []string{"weather.py", "--fast"}, Protocol: ProtocolSocket, Parallel: 4, Network: true, API: s4t.RoleReader, Pins: []string{"sim/demo/*", "by-name/door"},
		Resources: Resources{CPU: 0.25, Memory: 64 << 20, Disk: 1 << 20, Processes: 8},
		Health:    Health{Command: []string{"check.py"}, Interval: 20 * time.Second, Timeout: time.Second, Retries: 2, Grace: time.Minute},
		Commands: []s4t.Command{
			{Name: "at", Description: "The weather of a place", Timeout: "1m30s", Stream: true, Result: []byte(`{"type":"string"}`),
				Params: []byte(`{"properties":{"place":{"maxLength":40,"type":"string"}},"type":"object"}`)},
			{Name: "zero", Timeout: "30s"},
		},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	got, err = ParseManifest([]byte(small))
	want = Manifest{
		Version: "1", Runtime: s4t.RuntimeExec, Kind: s4t.PluginService, Entry: []string{"run"}, Parallel: 1,
		Resources: Resources{Processes: DefaultProcesses},
		Health:    Health{Interval: 10 * time.Second, Timeout: 5 * time.Second, Retries: 3, Grace: time.Second},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestManifestMistakes(t *testing.T) {
	command := "kind = \"callable\"\n[[commands]]\nname = \"a\"\n"
	for name, tt := range map[string]struct{ text, want string }{
		"an unknown key":            {small + "colour = 1\n", "line 4: there is no key colour"},
		"no TOML":                   {small + "x\n", "line 4"},
		"no version":                {"runtime = \"exec\"\nentry = \"run\"\n", "version"},
		"a runtime that is none":    {strings.Replace(small, "exec", "perl", 1), "none of exec, python, wasi"},
		"an entry outside":          {strings.Replace(small, "\"run\"", "\"../run\"", 1), "entry"},
		"an absolute entry":         {strings.Replace(small, "\"run\"", "\"/bin/sh\"", 1), "entry"},
		"an entry that is a number": {strings.Replace(small, "\"run\"", "7", 1), "entry"},
		"a callable of no commands": {small + "kind = \"callable\"\n", "commands"},
		"a service with commands":   {small + strings.Replace(command, "callable", "service", 1), "only a callable"},
		"two commands of a name":    {small + command + "[[commands]]\nname = \"a\"\n", "two of the name a"},
		"a bad name in line 8":      {small + command + "[[commands]]\nname = \"-\"\n", "line 7"},
		"a schema that is a number": {small + command + "params = 7\n", "line 5: params"},
		"a schema that is no JSON":  {small + command + "params = \"{\"\n", "line 5: params"},
		"a schema that is too long": {small + command + "params = '{\"x\": \"" + strings.Repeat("x", s4t.MaxCommandSchema) + "\"}'\n", "line 5"},
		"a schema that is infinite": {small + command + "params = { x = inf }\n", "line 5: params"},
		"no time":                   {small + command + "timeout = \"25h\"\n", "line 5: timeout"},
		"cpu below 0":               {small + "resources.cpu = -1\n", "cpu"},
		"cpu that is no number":     {small + "resources.cpu = nan\n", "cpu"},
		"memory of letters":         {small + "resources.memory = \"many\"\n", "memory"},
		"too much memory":           {small + "resources.memory = \"99999999999G\"\n", "memory"},
		"a role":                    {small + "api = \"admin\"\n", "none of reader, member"},
		"a pin outside":             {small + "pins = [\"../x\"]\n", "pins"},
		"a socket for WASI":         {strings.Replace(small, "exec", "wasi", 1) + "protocol = \"socket\"\n" + command, "no sockets"},
		"too long":                  {strings.Repeat("#", 1<<20), "longer"},
	} {
		if _, err := ParseManifest([]byte(tt.text)); s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q in it", name, err, tt.want)
		}
	}
}

// folder writes files into a folder of the test.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPackAndUnpack(t *testing.T) {
	files := map[string]string{"plugin.toml": small, "run": "#!/bin/sh\n", "lib/deep/x": strings.Repeat("x", 100_000), "empty": ""}
	dir := folder(t, files)
	os.Chmod(filepath.Join(dir, "empty"), 0o600)
	os.Symlink("../run", filepath.Join(dir, "lib/link"))
	var packed, again bytes.Buffer
	digest, size, err := Pack(dir, &packed)
	if err != nil || size != int64(packed.Len()) || len(digest) != 64 {
		t.Fatal(digest, size, err)
	}
	old := time.Unix(1, 0)
	os.Chtimes(filepath.Join(dir, "run"), old, old)
	if d, _, _ := Pack(dir, &again); d != digest || !bytes.Equal(packed.Bytes(), again.Bytes()) {
		t.Error("the same folder gives other bytes")
	}
	if m, err := Read(bytes.NewReader(packed.Bytes())); err != nil || m.Version != "1" {
		t.Error(m, err)
	}
	out := t.TempDir()
	if _, err := Unpack(bytes.NewReader(packed.Bytes()), out, 1<<20); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]fs.FileMode{"run": 0o755, "empty": 0o644, "lib": 0o755 | fs.ModeDir} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, want %v", name, info.Mode(), want)
		}
	}
	if to, _ := os.Readlink(filepath.Join(out, "lib/link")); to != "../run" {
		t.Errorf("the link leads to %q", to)
	}
	if _, err := Unpack(bytes.NewReader(packed.Bytes()), t.TempDir(), 50_000); !errors.Is(err, ErrTooBig) {
		t.Errorf("over the limit: %v", err)
	}
	for cut := range packed.Len() {
		if _, err := Read(bytes.NewReader(packed.Bytes()[:cut])); err == nil {
			t.Fatalf("cut at %d of %d it is taken", cut, packed.Len())
		}
	}
}

func TestWhatIsNotPacked(t *testing.T) {
	for name, spoil := range map[string]func(dir string){
		"no manifest":   func(dir string) { os.Remove(filepath.Join(dir, ManifestName)) },
		"no entry":      func(dir string) { os.Remove(filepath.Join(dir, "run")) },
		"a link out":    func(dir string) { os.Symlink("../../etc", filepath.Join(dir, "x")) },
		"an absolute":   func(dir string) { os.Symlink("/etc", filepath.Join(dir, "x")) },
		"no executable": func(dir string) { os.Chmod(filepath.Join(dir, "run"), 0o600) },
	} {
		dir := folder(t, map[string]string{ManifestName: small, "run": "x"})
		spoil(dir)
		if _, _, err := Pack(dir, io.Discard); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// archive makes a tar.gz.
func archive(t testing.TB, headers ...tar.Header) []byte {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	pack := tar.NewWriter(zip)
	for _, h := range headers {
		body := ""
		if h.Typeflag == tar.TypeReg {
			body = "x"
			if h.Name == ManifestName {
				body = small
			}
			h.Size, h.Mode = int64(len(body)), 0o755
		}
		if err := pack.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(pack, body)
	}
	pack.Close()
	zip.Close()
	return out.Bytes()
}

func TestWhatIsNotUnpacked(t *testing.T) {
	manifest, run := tar.Header{Name: ManifestName, Typeflag: tar.TypeReg}, tar.Header{Name: "./run", Typeflag: tar.TypeReg}
	if _, err := Unpack(bytes.NewReader(archive(t, manifest, run)), t.TempDir(), 1<<20); err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]tar.Header{
		"a path out":        {Name: "../x", Typeflag: tar.TypeReg},
		"an absolute path":  {Name: "/tmp/x", Typeflag: tar.TypeReg},
		"a link out":        {Name: "x", Linkname: "../..", Typeflag: tar.TypeSymlink},
		"an absolute link":  {Name: "x", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink},
		"a hard link":       {Name: "x", Linkname: "run", Typeflag: tar.TypeLink},
		"a device":          {Name: "x", Typeflag: tar.TypeChar},
		"a pipe":            {Name: "x", Typeflag: tar.TypeFifo},
		"a file twice":      {Name: "run", Typeflag: tar.TypeReg},
		"a second manifest": {Name: "./plugin.toml", Typeflag: tar.TypeReg},
		"a control letter":  {Name: "a\x1bb", Typeflag: tar.TypeReg},
	} {
		dir := t.TempDir()
		if _, err := Unpack(bytes.NewReader(archive(t, manifest, run, h)), dir, 1<<20); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignatures(t *testing.T) {
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := WriteKey(path, key); err != nil {
		t.Fatal(err)
	}
	if err := WriteKey(path, key); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("over one that is there: %v", err)
	}
	read, err := ReadKey(path)
	if err != nil || !read.Equal(key) {
		t.Error(err)
	}
	if _, err := ReadKey(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	pub, err := ParsePublicKey(base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) + "\n")
	if err != nil || !pub.Equal(key.Public()) {
		t.Error(err)
	}
	for _, text := range []string{"", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePublicKey(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	sig := Sign(key, "d1")
	if !Verify(pub, "d1", sig) || Verify(pub, "d2", sig) || Verify(nil, "d1", sig) || Verify(pub, "d1", nil) {
		t.Error("verify")
	}
	if ed25519.Verify(pub, []byte("d1"), sig) {
		t.Error("a signature of a bare digest is one of a bundle")
	}
}

// FuzzParseManifest checks that what is taken is valid and bounded.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(small))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err == nil && (m.Validate() != nil || !ValidVersion(m.Version) || !validPath(m.Entry[0])) {
			t.Errorf("%+v", m)
		}
	})
}

// FuzzUnpack checks that nothing comes out of the folder, and that Read takes what
// Unpack takes.
func FuzzUnpack(f *testing.F) {
	manifest, run := tar.Header{Name: ManifestName, Typeflag: tar.TypeReg}, tar.Header{Name: "run", Typeflag: tar.TypeReg}
	f.Add(archive(f, manifest, run, tar.Header{Name: "d/", Typeflag: tar.TypeDir}, tar.Header{Name: "d/l", Linkname: "../run", Typeflag: tar.TypeSymlink}))
	f.Add(archive(f, manifest, run, tar.Header{Name: "l", Linkname: "..", Typeflag: tar.TypeSymlink}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		os.Mkdir(dir, 0o755)
		_, err := Unpack(bytes.NewReader(packed), dir, 1<<16)
		if entries, _ := os.ReadDir(outer); len(entries) != 1 {
			t.Errorf("it wrote outside: %v", entries)
		}
		if _, rerr := Read(bytes.NewReader(packed)); err == nil && rerr != nil {
			t.Errorf("Read does not take it: %v", rerr)
		}
	})
}
