package conductor

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
	"github.com/stack4things/s4t/wire"
)

// pack makes a bundle of a plugin.toml, filled up to about size bytes.
func pack(t testing.TB, manifest string, size int) (packed []byte, digest string) {
	t.Helper()
	dir := t.TempDir()
	junk := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(junk)
	for name, content := range map[string]string{"plugin.toml": manifest, "run": "#!/bin/sh\n", "junk": string(junk)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	digest, _, err := bundle.Pack(dir, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest
}

func manifest(version string, more ...string) string {
	return fmt.Sprintf("name = \"hello\"\nversion = %q\nruntime = \"exec\"\nentry = \"run\"\nkind = \"service\"\n%s\n", version, strings.Join(more, "\n"))
}

// put puts a bundle, part by part.
func (l *lab) put(caller wire.Caller, packed []byte, digest string) {
	l.t.Helper()
	for at := 0; at < len(packed); {
		n := min(wire.MaxBundlePart, len(packed)-at)
		has := call[wire.BundleHas](l, wire.MethodBundlePut, wire.BundlePut{Caller: caller, Digest: digest, Size: int64(len(packed)), Offset: int64(at), Data: packed[at : at+n]})
		at += n
		if has.Has != int64(at) || has.Complete != (at == len(packed)) {
			l.t.Fatalf("after %d bytes of %d: %+v", at, len(packed), has)
		}
	}
}

// signed is the request to create a plugin of a bundle, with a key of the test's.
func signed(caller wire.Caller, name, digest string, seed byte) wire.PluginCreate {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return wire.PluginCreate{Caller: caller, Name: name, Digest: digest, Key: key.Public().(ed25519.PublicKey), Signature: bundle.Sign(key, digest)}
}

// plugin makes a version of a plugin.
func (l *lab) plugin(name, version string, more ...string) s4t.Plugin {
	l.t.Helper()
	packed, digest := pack(l.t, manifest(version, more...), 10)
	l.put(l.member, packed, digest)
	return call[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, name, digest, 1))
}

func refusedAs[Reply any](l *lab, method string, req any, kind s4t.Kind, says string) {
	l.t.Helper()
	if _, err := try[Reply](l, method, req); s4t.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), says) {
		l.t.Errorf("%s: %v (%s), want %s that says %q", method, err, s4t.KindOf(err), kind, says)
	}
}

func TestABundleIsPutAndGiven(t *testing.T) {
	l := newLab(t)
	packed, digest := pack(t, manifest("1"), 3*wire.MaxBundlePart)
	size := int64(len(packed))
	part := func(at int64) wire.BundlePut {
		return wire.BundlePut{Caller: l.member, Digest: digest, Size: size, Offset: at, Data: packed[at:min(at+wire.MaxBundlePart, size)]}
	}
	refusedAs[wire.BundlePart](l, wire.MethodBundleGet, wire.BundleGet{Digest: digest}, s4t.NotFound, "")
	if has := call[wire.BundleHas](l, wire.MethodBundlePut, part(wire.MaxBundlePart)); has.Has != 0 {
		t.Errorf("a part that follows nothing: %+v", has)
	}
	call[wire.BundleHas](l, wire.MethodBundlePut, part(0))
	if has := call[wire.BundleHas](l, wire.MethodBundlePut, part(0)); has.Has != wire.MaxBundlePart || has.Complete {
		t.Errorf("a part that is there: %+v", has)
	}
	if has := call[wire.BundleHas](l, wire.MethodBundlePut, wire.BundlePut{Caller: l.member, Digest: digest, Size: size}); has.Has != wire.MaxBundlePart {
		t.Errorf("asked: %+v", has)
	}
	if has := call[wire.BundleHas](l, wire.MethodBundlePut, wire.BundlePut{Caller: l.foreign, Digest: digest, Size: size}); has.Has != 0 {
		t.Errorf("another project is told of it: %+v", has)
	}
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, "hello", digest, 1), s4t.NotFound, "put it first")
	for at := int64(wire.MaxBundlePart); at < size; at += wire.MaxBundlePart {
		call[wire.BundleHas](l, wire.MethodBundlePut, part(at))
	}
	if has := call[wire.BundleHas](l, wire.MethodBundlePut, part(0)); !has.Complete {
		t.Errorf("once more: %+v", has)
	}
	var got []byte
	for int64(len(got)) < size {
		p := call[wire.BundlePart](l, wire.MethodBundleGet, wire.BundleGet{Digest: digest, Offset: int64(len(got))})
		if p.Size != size || len(p.Data) == 0 {
			t.Fatalf("%d bytes of %d", len(p.Data), p.Size)
		}
		got = append(got, p.Data...)
	}
	if !bytes.Equal(got, packed) {
		t.Error("it is not what was put")
	}

	for _, tt := range []struct {
		name string
		req  wire.BundlePut
		kind s4t.Kind
	}{
		{"a reader", wire.BundlePut{Caller: l.reader, Digest: digest, Size: size, Data: packed[:wire.MaxBundlePart]}, s4t.Forbidden},
		{"no digest", wire.BundlePut{Caller: l.member, Digest: "x", Size: size}, s4t.Invalid},
		{"too large", wire.BundlePut{Caller: l.member, Digest: digest, Size: s4t.MaxBundle + 1}, s4t.Invalid},
		{"a short part", wire.BundlePut{Caller: l.member, Digest: digest, Size: size, Data: []byte("x")}, s4t.Invalid},
		{"an odd offset", wire.BundlePut{Caller: l.member, Digest: digest, Size: size, Offset: 7, Data: packed[:wire.MaxBundlePart]}, s4t.Invalid},
		{"beyond its end", wire.BundlePut{Caller: l.member, Digest: digest, Size: 3, Data: []byte("xxxx")}, s4t.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) { refusedAs[wire.BundleHas](l, wire.MethodBundlePut, tt.req, tt.kind, "") })
	}
	wrong := wire.BundlePut{Caller: l.member, Digest: hex.EncodeToString(make([]byte, sha256.Size)), Size: 3, Data: []byte("abc")}
	for range 2 { // nothing is left of it
		refusedAs[wire.BundleHas](l, wire.MethodBundlePut, wrong, s4t.Invalid, "ba7816bf")
	}
}

func TestAPluginsVersions(t *testing.T) {
	l := newLab(t)
	p := l.plugin("hello", "1")
	if p.Version != "1" || p.Runtime != s4t.RuntimeExec || p.Kind != s4t.PluginService || len(p.Versions) != 1 || p.Versions[0].Size == 0 || p.Boards != 0 {
		t.Errorf("%+v", p)
	}
	l.await("plugin.created", "hello")
	again := l.plugin("hello", "1")
	if len(again.Versions) != 1 || again.ID != p.ID {
		t.Errorf("the same again: %+v", again)
	}
	_, digest := pack(t, manifest("1"), 10)
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, "hello", digest, 2), s4t.Conflict, "another key")
	packed, other := pack(t, manifest("1", `description = "other"`), 10)
	l.put(l.member, packed, other)
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, "hello", other, 1), s4t.Conflict, "raise the version")
	bad := signed(l.member, "hello", digest, 1)
	bad.Signature = bytes.Clone(bad.Signature)
	bad.Signature[5] ^= 1
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, bad, s4t.Invalid, "signature")
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.reader, "hello", digest, 1), s4t.Forbidden, "member")
	if p := l.plugin("hello", "2"); p.Version != "2" || len(p.Versions) != 2 {
		t.Errorf("%+v", p)
	}
	if list := items[s4t.Plugin](l, wire.MethodPluginList, wire.ListRequest{Caller: l.foreign}); len(list) != 0 {
		t.Errorf("another project sees %+v", list)
	}
	refusedAs[s4t.Plugin](l, wire.MethodPluginGet, wire.RefRequest{Caller: l.foreign, Ref: string(p.ID)}, s4t.NotFound, "")

	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodPluginInject, wire.PluginInject{Caller: l.member, Board: f.name, Plugin: "hello", Version: "1"}))
	refusedAs[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello"}, s4t.Conflict, "one")
	refusedAs[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello", Version: "1"}, s4t.Conflict, "one")
	refusedAs[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello", Version: "3"}, s4t.NotFound, "no version")
	call[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello", Version: "2"})
	l.done(call[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: f.name, Plugin: "hello", Do: wire.PluginRemove}))
	call[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello", Version: "1"})
	refusedAs[s4t.Plugin](l, wire.MethodPluginGet, wire.RefRequest{Caller: l.member, Ref: "hello"}, s4t.NotFound, "")
}

func TestTheManifestIsCheckedAtTheDoor(t *testing.T) {
	l := newLab(t)
	callable := strings.Replace(manifest("1", "protocol = \"stdio\"", "[[commands]]", "name = \"blink\"", "params = { type = \"nonsense\" }"), `"service"`, `"callable"`, 1)
	packed, digest := pack(t, callable, 10)
	l.put(l.member, packed, digest)
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, "hello", digest, 1), s4t.Invalid, "blink")
	junk := []byte("this is no bundle")
	sum := sha256.Sum256(junk)
	digest = hex.EncodeToString(sum[:])
	l.put(l.member, junk, digest)
	refusedAs[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, "hello", digest, 1), s4t.Invalid, "")
}

func TestWhatNobodyMakesAVersionOfIsForgotten(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	l.plugin("hello", "1")
	packed, digest := pack(t, manifest("2"), 10)
	l.put(l.member, packed, digest)
	l.skew.Add(int64(bundleIdle + time.Minute))
	if err := l.c.forgetBundles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if has := call[wire.BundleHas](l, wire.MethodBundlePut, wire.BundlePut{Caller: l.member, Digest: digest, Size: 1}); has.Has != 0 {
		t.Errorf("%+v", has)
	}
	call[wire.BundlePart](l, wire.MethodBundleGet, wire.BundleGet{Digest: call[s4t.Plugin](l, wire.MethodPluginGet, wire.RefRequest{Caller: l.member, Ref: "hello"}).Versions[0].Digest})
}
