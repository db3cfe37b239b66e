package lightningrod

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// DefaultState is where a board keeps its state.
const DefaultState = "/var/lib/lightning-rod"

// IdentityFile is the one file of a state directory that a board cannot lose. It
// is written once, at join.
const IdentityFile = "identity.json"

// The other files of a state directory.
const (
	pendingFile = "join.pending" // the key of a join whose answer has not come yet
	desiredFile = "desired.json" // the last desired state; may be lost
	bookFile    = "book.json"    // who holds the board, as the cloud said last; may be lost
	trustFile   = "trust.json"   // what the cloud announced of its certificate
	pinsFile    = "pins.json"    // the journal of package hal
	runsFile    = "runs.journal" // of commands, see package journal
	profileFile = "profile.toml" // what the board's owner gives to others; it stays when the board leaves
	ownerFile   = "owner.json"   // whose the rest is, see owner.go
	usageFile   = "usage.json"   // what projects have used of the board
	treeFile    = "io"           // where the tree of the board's pins was mounted last
	lockFile    = "run.lock"
	socketFile  = "run.sock"
)

// maxStateFile bounds a state file, in bytes: the desired state of a board
// with 250 ports is about 100 KB.
const maxStateFile = 8 << 20

// Identity is what a board keeps from its join until it leaves. It is written
// once and never rewritten.
type Identity struct {
	Board     s4t.BoardID `json:"board"`
	Name      string      `json:"name"`
	Key       []byte      `json:"key"`                // seed of the board's Ed25519 key, 32 bytes; made on the board, never sent
	URLs      []string    `json:"urls"`               // of the cloud, from the join string
	CA        string      `json:"ca,omitempty"`       // PEM of the CA that the join string named; empty: the system's roots
	ExtraCA   string      `json:"extra_ca,omitempty"` // PEM of `join --ca`, trusted in addition
	TicketKey []byte      `json:"ticket_key"`         // Ed25519 public key that signs tickets
	Proxy     string      `json:"proxy,omitempty"`    // of `join --proxy`

	// Fingerprint is the join string's, kept while the CA itself was not seen:
	// a proxy re-signs TLS. Once it does not any more, the cloud's CA is known by it.
	Fingerprint string `json:"fingerprint,omitempty"`

	JoinedAt time.Time `json:"joined_at"` // the board's own clock
}

// PrivateKey returns the board's key.
func (i Identity) PrivateKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(i.Key) }

// check says what is missing in an identity read from disk.
func (i Identity) check() error {
	switch {
	case !s4t.IsID(string(i.Board)):
		return errors.New("it holds no board id")
	case len(i.Key) != ed25519.SeedSize:
		return errors.New("it holds no key")
	case len(i.URLs) == 0:
		return errors.New("it holds no URL")
	case i.CA != "" && !isPEM(i.CA), i.ExtraCA != "" && !isPEM(i.ExtraCA):
		return errors.New("its CA is not a certificate in PEM")
	case len(i.TicketKey) != ed25519.PublicKeySize:
		return errors.New("it holds no ticket key")
	}
	return nil
}

// isPEM reports whether text holds a certificate.
func isPEM(text string) bool { return x509.NewCertPool().AppendCertsFromPEM([]byte(text)) }

// pending is a join under way. The key is on disk before it is sent, so that a
// lost answer is repaired by joining again with the same code.
type pending struct {
	Code string `json:"code"`
	Key  []byte `json:"key"` // seed
}

// stateDir is a state directory. The methods are not synchronised; the engine
// calls them from one goroutine.
type stateDir string

func (d stateDir) path(name string) string { return filepath.Join(string(d), name) }

// create makes the directory, for the owner only.
func (d stateDir) create() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return d.failed("make", "", err)
	}
	return nil
}

// failed wraps an error of the file system.
func (d stateDir) failed(verb, name string, err error) error {
	hint := "check the directory, or name another with --state"
	if errors.Is(err, fs.ErrPermission) {
		hint = "run as the user who joined (often root), or name another directory with --state"
	} else if errors.Is(err, unix.ENOSPC) {
		hint = "free some disk space"
	} else if readOnlyError(err) {
		hint = "mount the file system for writing, or name a directory on another one with --state"
	}
	return s4t.Errorf(s4t.Internal, verb+" state "+d.path(name), hint, "%w", err)
}

// identity reads the identity: NotFound where the board has not joined.
func (d stateDir) identity() (Identity, error) {
	b, err := d.read(IdentityFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, s4t.Errorf(s4t.NotFound, "read state "+string(d), "run `lightning-rod join JOIN-STRING` first, or name the directory with --state", "this board has not joined a cloud")
	}
	if err != nil {
		return Identity{}, d.failed("read", IdentityFile, err)
	}
	var id Identity
	if err = json.Unmarshal(b, &id); err == nil {
		err = id.check()
	}
	if err == nil && !sealed(b) {
		err = errors.New("its checksum does not match")
	}
	if err != nil {
		return Identity{}, s4t.Errorf(s4t.Internal, "read "+d.path(IdentityFile), "restore it from a backup, or run `lightning-rod leave` and join again with a new code", "the identity is damaged: %w", err)
	}
	return id, nil
}

// savedIdentity is identity.json. The sum is of the file with zeros in its
// place. It tells a bit that was flipped in the key from a board that the cloud
// does not know. A file without one is not checked: it may be from before there
// was one, or somebody has edited it and taken it out.
type savedIdentity struct {
	Identity
	Sum string `json:"sha256"`
}

var noSum = strings.Repeat("0", 2*sha256.Size)

// seal returns the file of an identity.
func seal(id Identity) ([]byte, error) {
	b, err := json.MarshalIndent(savedIdentity{id, noSum}, "", "  ")
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "encode the identity", "", "%w", err)
	}
	b = append(b, '\n')
	sum := sha256.Sum256(b)
	return bytes.Replace(b, []byte(noSum), []byte(hex.EncodeToString(sum[:])), 1), nil
}

// sealed reports whether the file of an identity is as it was written.
func sealed(b []byte) bool {
	var s savedIdentity
	if json.Unmarshal(b, &s) != nil || s.Sum == "" {
		return true
	}
	sum := sha256.Sum256(bytes.Replace(b, []byte(s.Sum), []byte(noSum), 1))
	return s.Sum == hex.EncodeToString(sum[:])
}

// joined reports whether there is an identity, readable or not.
func (d stateDir) joined() bool {
	_, err := os.Lstat(d.path(IdentityFile))
	return err == nil
}

// kept is what is known of what the cloud wants.
type kept struct {
	Desired  wire.BoardDesired
	Suspects []suspect // of its resources: those that are not confirmed
}

// savedDesired is desired.json: the sum is of the bytes of Desired and, where
// they are there, of Suspects.
type savedDesired struct {
	Sum      string          `json:"sha256"`
	Desired  json.RawMessage `json:"desired"`
	Suspects json.RawMessage `json:"suspects,omitempty"`
}

// sum is what Sum should be.
func (s savedDesired) sum() string {
	sum := sha256.Sum256(append(bytes.Clone(s.Desired), s.Suspects...))
	return hex.EncodeToString(sum[:])
}

// desired reads the last desired state. found is false where there is none.
// damage says why a file that is there was not used.
func (d stateDir) desired(board s4t.BoardID) (des wire.BoardDesired, found bool, damage string) {
	k, found, damage := d.kept(board)
	return k.Desired, found, damage
}

// kept is desired with what is not confirmed of it.
func (d stateDir) kept(board s4t.BoardID) (k kept, found bool, damage string) {
	b, err := d.read(desiredFile)
	if errors.Is(err, fs.ErrNotExist) {
		return k, false, ""
	}
	bad := func(why string) (kept, bool, string) {
		return kept{}, false, "the saved desired state was damaged (" + why + ") and was fetched again"
	}
	if err != nil {
		return bad("unreadable")
	}
	var s savedDesired
	if err := json.Unmarshal(b, &s); err != nil {
		return bad("not JSON")
	}
	if s.Sum != s.sum() {
		return bad("its checksum does not match")
	}
	err = json.Unmarshal(s.Desired, &k.Desired)
	if err == nil && len(s.Suspects) > 0 {
		err = json.Unmarshal(s.Suspects, &k.Suspects)
	}
	if err != nil {
		return bad("its content is not understood")
	}
	if k.Desired.Board != board {
		return bad("it belongs to another board")
	}
	if k.Desired.Resources == nil { // of an older version, which kept them in another form
		return bad("it names no resources")
	}
	return k, true, ""
}

// saveDesired keeps now for the next boot. A state that differs from the last
// one only by the cloud's clock is not written again, to spare flash.
func (d stateDir) saveDesired(now, last kept) error {
	last.Desired.Time, last.Desired.Told = now.Desired.Time, now.Desired.Told
	if bytes.Equal(wire.Encode(now), wire.Encode(last)) {
		return nil
	}
	s := savedDesired{Desired: wire.Encode(now.Desired)}
	if len(now.Suspects) > 0 {
		s.Suspects = wire.Encode(now.Suspects)
	}
	s.Sum = s.sum()
	return d.write(desiredFile, wire.Encode(s))
}

// pendingKey returns the key of an earlier, unanswered join with the same
// code, or makes one and keeps it.
func (d stateDir) pendingKey(code string) (ed25519.PrivateKey, error) {
	if b, err := d.read(pendingFile); err == nil {
		var p pending
		if json.Unmarshal(b, &p) == nil && p.Code == code && len(p.Key) == ed25519.SeedSize {
			return ed25519.NewKeyFromSeed(p.Key), nil
		}
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "make the board's key", "", "%w", err)
	}
	if err := d.write(pendingFile, wire.Encode(pending{Code: code, Key: key.Seed()})); err != nil {
		return nil, err
	}
	return key, nil
}

// saveIdentity ends a join.
func (d stateDir) saveIdentity(id Identity) error {
	b, err := seal(id)
	if err != nil {
		return err
	}
	if err := d.write(IdentityFile, b); err != nil {
		return err
	}
	if err := os.Remove(d.path(pendingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.failed("remove", pendingFile, err)
	}
	return nil
}

// remove deletes every file that is ours, and the directory if nothing else
// is in it. The identity goes first: what is left after a crash is not a
// board any more.
func (d stateDir) remove() error {
	d.removeHalves()
	for _, name := range []string{IdentityFile, pendingFile, desiredFile, bookFile, trustFile, pinsFile, runsFile, usageFile, ownerFile, treeFile, socketFile, lockFile} {
		if err := os.Remove(d.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.failed("remove", name, err)
		}
	}
	for _, name := range []string{pluginsDir} {
		if err := os.RemoveAll(d.path(name)); err != nil {
			return d.failed("remove", name, err)
		}
	}
	for _, name := range []string{socketFile, lockFile} {
		os.Remove(d.runtimePath(name)) // there where the directory was read-only
	}
	os.Remove(string(d)) // stays where somebody else's file is in it
	return nil
}

// removeHalves deletes files that a process was writing when it was killed:
// they may hold a key. The lock is held, or no lightning-rod runs.
func (d stateDir) removeHalves() {
	for _, name := range []string{IdentityFile, pendingFile, desiredFile, bookFile, trustFile, pinsFile, runsFile, profileFile, usageFile, ownerFile, treeFile} {
		halves, _ := filepath.Glob(d.path("." + name + ".*")) // fails for a malformed pattern only
		for _, half := range halves {
			os.Remove(half) // what cannot be removed stays, as before
		}
	}
}

// read reads a whole file of bounded size.
func (d stateDir) read(name string) ([]byte, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return nil, err
	}
	if info.Size() > maxStateFile {
		return nil, errors.New("it is too large")
	}
	return os.ReadFile(d.path(name))
}

// write replaces a file in one step: a crash leaves the old one or the new
// one, never half of one.
func (d stateDir) write(name string, b []byte) error {
	f, err := os.CreateTemp(string(d), "."+name+".*") // mode 0600
	if err != nil {
		return d.failed("write", name, err)
	}
	defer os.Remove(f.Name()) // there is nothing to remove after the rename
	_, err = f.Write(b)
	if err == nil {
		err = d.give(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), d.path(name))
	}
	if err != nil {
		return d.failed("write", name, err)
	}
	if dir, err := os.Open(string(d)); err == nil {
		dir.Sync() // best effort: not every file system can
		dir.Close()
	}
	return nil
}

// give gives a file that root writes to whom the directory belongs: a lightning-rod that runs
// as another user reads what its owner set as root.
func (d stateDir) give(f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var dir unix.Stat_t
	if err := unix.Stat(string(d), &dir); err != nil || dir.Uid == 0 {
		return err
	}
	return f.Chown(int(dir.Uid), int(dir.Gid))
}
