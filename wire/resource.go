package wire

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
)

// Everything that a board or a tunnel agent may hold is said in one form: an
// object of a kind is wanted of a holder ([Resource]), and the holder says
// whether it has it ([ResourceState]). A kind has one meaning on each side; its
// Spec is what that side needs to know. What lies between conductor and holder
// does not look into a Spec.

// Kind of a resource.
type Kind string

// The kinds. The ID of a resource is that of the object.
const (
	KindPort    Kind = "port"    // of a board: DesiredPort; of a tunnel agent: TunnelPort. ID: a port
	KindService Kind = "service" // of a board: DesiredService; of a tunnel agent: TunnelExposure. ID: a service
	KindStreams Kind = "streams" // of a board: DesiredStreams; of a tunnel agent: TunnelStreams, the board may have idle data rtunnels there and is up while it has one. ID: a board
	KindNetwork Kind = "network" // of a tunnel agent: TunnelNetwork. ID: a network
	KindGRE     Kind = "gre"     // of a tunnel agent: GREAttachment. ID: an endpoint
	KindPlugin  Kind = "plugin"  // of a board: DesiredPlugin. ID: a plugin on a board
	KindPeer    Kind = "peer"    // of two tunnel agents: TunnelPeer, the network is at both and one is reached by the other. ID: [PeeringID]
	KindUplink  Kind = "uplink"  // of a tunnel agent: TunnelUplink. ID: a network
)

// Resource is an object that is wanted of a holder.
type Resource struct {
	Kind Kind            `json:"kind"`
	ID   string          `json:"id"`
	Gone bool            `json:"gone,omitempty"` // among differences: it is not wanted any more
	Spec json.RawMessage `json:"spec,omitempty"`
}

// NewResource returns a resource with its spec encoded.
func NewResource(kind Kind, id string, spec any) Resource {
	return Resource{Kind: kind, ID: id, Spec: Encode(spec)}
}

// ResourceKey names a resource among those of one holder.
type ResourceKey struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// Compare orders keys, as [cmp.Compare] does: by kind, then by id.
func (k ResourceKey) Compare(o ResourceKey) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.ID, o.ID))
}

// Key returns the key of a resource.
func (r Resource) Key() ResourceKey { return ResourceKey{r.Kind, r.ID} }

// ResourceState is what a holder says of a resource: up, or why not. A
// resource of which it says nothing is not up, without a problem.
type ResourceState struct {
	Kind      Kind   `json:"kind"`
	ID        string `json:"id"`
	Up        bool   `json:"up"`
	ProblemID string `json:"problem_id,omitempty"` // of a [Diagnosis], where it has one
	Problem   string `json:"problem,omitempty"`    // one line for people, at most [MaxProblem] bytes
}

// MaxResources bounds what is wanted of one board: the states of so many, each
// with its problem, fit into one message (MaxMessage of package s4t).
const MaxResources = 2048

// MaxProblem bounds the text of a problem, in bytes.
const MaxProblem = 255

// Key returns the key of the resource.
func (s ResourceState) Key() ResourceKey { return ResourceKey{s.Kind, s.ID} }

// Sum tells whether two sides have the same set, whatever the order it came
// in: the sum of a hash of each member. It is below 2^62, so that both
// databases can add to it.
type Sum int64

const sumModulus = 1 << 62

// Add returns the sum with o added.
func (s Sum) Add(o Sum) Sum { return (s + o) % sumModulus }

// Sub returns the sum with o taken away.
func (s Sum) Sub(o Sum) Sum { return (s - o + sumModulus) % sumModulus }

// Sum is the part of a resource that is wanted in a [Sum].
func (r Resource) Sum() Sum { return sumOf(string(r.Kind), r.ID, string(r.Spec)) }

// Sum is the part of a state in a [Sum]: none while it says nothing.
func (s ResourceState) Sum() Sum {
	if !s.Up && s.Problem == "" {
		return 0
	}
	up := "down"
	if s.Up {
		up = "up"
	}
	return sumOf(string(s.Kind), s.ID, up, s.ProblemID, s.Problem)
}

func sumOf(parts ...string) Sum {
	h := fnv.New64a()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return Sum(h.Sum64() % sumModulus)
}

// Specs decodes the specs of one kind, by id in the order given. One that is
// not understood is left out.
func Specs[T any](kind Kind, list []Resource) []T {
	var found []T
	for _, r := range list {
		var v T
		if r.Kind == kind && !r.Gone && json.Unmarshal(r.Spec, &v) == nil {
			found = append(found, v)
		}
	}
	return found
}
