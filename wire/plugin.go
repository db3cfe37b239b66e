package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: plugins, for the API.
const (
	MethodPluginCreate = "plugin.create" // PluginCreate -> s4t.Plugin: a version of a plugin; its bundle was put before
	MethodPluginList   = "plugin.list"   // ListRequest -> List[s4t.Plugin]
	MethodPluginGet    = "plugin.get"    // RefRequest -> s4t.Plugin
	MethodPluginDelete = "plugin.delete" // PluginDelete -> Empty

	MethodPluginInject = "plugin.inject" // PluginInject -> s4t.Operation: also upgrades
	MethodPluginAct    = "plugin.act"    // PluginAct -> s4t.Operation
	MethodPluginStatus = "plugin.status" // PluginStatus -> List[s4t.BoardPlugin]: of one board; the board is asked where it is online. It is served on [TopicCommands]
)

// Methods of the conductor on [TopicBundles].
const (
	MethodBundlePut = "bundle.put" // BundlePut -> BundleHas: of the API, in order; what is there already is not sent again
	MethodBundleGet = "bundle.get" // BundleGet -> BundlePart: of a tunnel agent
)

// MaxBundlePart is how many bytes of a bundle go in one message.
const MaxBundlePart = 512 << 10

// BundlePut adds to an upload.
type BundlePut struct {
	Caller Caller `json:"caller"`
	Digest string `json:"digest"` // SHA-256 of all of it, hex
	Size   int64  `json:"size"`   // of all of it
	Offset int64  `json:"offset"` // of Data: a multiple of MaxBundlePart
	Data   []byte `json:"data"`   // MaxBundlePart bytes, but for the last part; none: asks only
}

// BundleHas answers it.
type BundleHas struct {
	Has      int64 `json:"has"` // bytes of it that are there: the next offset
	Complete bool  `json:"complete"`
}

// BundleGet asks for a part of a bundle.
type BundleGet struct {
	Digest string `json:"digest"`
	Offset int64  `json:"offset"` // a multiple of MaxBundlePart
}

// BundlePart answers it. It is no JSON (queue.Raw): 8 bytes, big endian, of Size, then Data.
type BundlePart struct {
	Size int64 // of all of it
	Data []byte
}

// AppendRaw appends it as it crosses the queue.
func (p *BundlePart) AppendRaw(to []byte) []byte {
	to = slices.Grow(to, 8+len(p.Data))
	return append(binary.BigEndian.AppendUint64(to, uint64(p.Size)), p.Data...)
}

// ParseRaw is the reverse. Data is a part of raw.
func (p *BundlePart) ParseRaw(raw []byte) error {
	if len(raw) < 8 {
		return fmt.Errorf("a part of a bundle has 8 bytes of size first, not %d in all", len(raw))
	}
	p.Size, p.Data = int64(binary.BigEndian.Uint64(raw)), raw[8:]
	if p.Size < 0 {
		return fmt.Errorf("a bundle has no %d bytes", p.Size)
	}
	return nil
}

// PluginCreate makes a plugin, or a version of it, of a bundle that was put.
type PluginCreate struct {
	Caller    Caller `json:"caller"`
	Name      string `json:"name"`
	Digest    string `json:"digest"`
	Key       []byte `json:"key"`       // Ed25519, 32 bytes
	Signature []byte `json:"signature"` // bundle.Sign
}

// PluginDelete deletes a plugin that no board has, or one version of it.
type PluginDelete struct {
	Caller  Caller `json:"caller"`
	Ref     string `json:"ref"`
	Version string `json:"version,omitempty"` // empty: all
}

// PluginInject puts a plugin on a board, or another version of one that is there.
type PluginInject struct {
	Caller  Caller            `json:"caller"`
	Board   string            `json:"board"`
	Plugin  string            `json:"plugin"`
	Version string            `json:"version,omitempty"` // empty: the newest
	Upgrade bool              `json:"upgrade,omitempty"` // it must be there; OnBoot and Params stay where nil
	OnBoot  *bool             `json:"onboot,omitempty"`
	Params  map[string]string `json:"params,omitzero"`
}

// What can be done with a plugin on a board.
const (
	PluginStart   = "start"
	PluginStop    = "stop"
	PluginRestart = "restart"
	PluginRemove  = "remove"
)

// PluginAct does it.
type PluginAct struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board"`
	Plugin string `json:"plugin"`
	Do     string `json:"do"`
}

// PluginStatus asks for the plugins of a board.
type PluginStatus struct {
	Caller Caller `json:"caller"`
	Board  string `json:"board"`
	Plugin string `json:"plugin,omitempty"`
}

// DesiredPlugin is a plugin that a board should have. It is up when what is wanted
// of it is so: it runs and is healthy; a job has begun, and not failed; it is stopped.
//
// Where a version does not become healthy the board goes back to the one before
// and says so: the problem has the ProblemID [PluginFellBack].
type DesiredPlugin struct {
	Plugin    s4t.PluginID      `json:"plugin"`
	Name      string            `json:"name"` // unique on the board
	Project   s4t.ProjectID     `json:"project"`
	Version   string            `json:"version"`
	Digest    string            `json:"digest"`
	Size      int64             `json:"size"`
	Key       []byte            `json:"key"`
	Signature []byte            `json:"signature"`
	URL       string            `json:"url"` // of the tunnel agent that has the bundle
	Params    map[string]string `json:"params,omitempty"`
	OnBoot    bool              `json:"onboot,omitempty"` // it is started when lightning-rod starts, too
	Running   bool              `json:"running"`
	Start     int64             `json:"start"` // grows with each time that somebody starts it anew
	Leased
}

// PluginTokenAsk asks for a token with which a plugin calls the API, for a part of
// an hour.
type PluginTokenAsk struct {
	Board  s4t.BoardID `json:"board"`
	Epoch  int64       `json:"epoch"`
	Plugin string      `json:"plugin"` // ResourceKey.ID of its DesiredPlugin
}

// PluginToken answers it.
type PluginToken struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
	URL       string    `json:"url,omitempty"` // of the API; empty: at the URL that the board connects to
}
