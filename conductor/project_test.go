package conductor

import (
	"slices"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestTheWeightOfAProjectReachesItsTunnelAgents(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	weigh := func(caller wire.Caller, ref string, weight int) (s4t.Project, error) {
		return try[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: caller, Ref: ref, Weight: &weight})
	}
	for _, tt := range []struct {
		name   string
		caller wire.Caller
		ref    string
		weight int
		kind   s4t.Kind
	}{
		{"by a member of the project", l.member, "default", 3, s4t.Forbidden},
		{"by a reader", l.reader, "default", 3, s4t.Forbidden},
		{"by somebody else", l.foreign, "default", 3, s4t.NotFound},
		{"of a project that does not exist", l.admin, "nowhere", 3, s4t.NotFound},
		{"of nothing", l.admin, "default", 0, s4t.Invalid},
		{"of too much", l.admin, "default", s4t.MaxWeight + 1, s4t.Invalid},
	} {
		t.Run("a weight "+tt.name, func(t *testing.T) {
			if _, err := weigh(tt.caller, tt.ref, tt.weight); s4t.KindOf(err) != tt.kind {
				t.Errorf("%v", err)
			}
		})
	}
	ask := func() (generation int64, weights []int) {
		d := call[wire.TunnelDesired](l, wire.MethodTunnelAsk, wire.TunnelAsk{Agent: tunnelID, Incarnation: "t1"})
		for _, n := range specs[tunnelNetwork](wire.KindNetwork, d.Resources) {
			if n.Project != projectID {
				t.Errorf("a network of the project %s", n.Project)
			}
			weights = append(weights, n.Weight)
		}
		return d.Generation, weights
	}
	before, weights := ask()
	if !slices.Equal(weights, []int{1}) {
		t.Errorf("nothing was changed, and the tunnel agent is told %v", weights)
	}
	for range 2 { // the second changes nothing
		if p, err := weigh(l.admin, "default", 3); err != nil || p.Weight != 3 || p.ID != projectID {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	if _, err := weigh(l.admin, "other", 5); err != nil { // it has nothing there
		t.Fatal(err)
	}
	if generation, weights := ask(); generation != before+1 || !slices.Equal(weights, []int{3}) {
		t.Errorf("generation %d after %d, weights %v", generation, before, weights)
	}
}

func TestOnlyAnAdminSaysHowMuchAProjectMayHave(t *testing.T) {
	l := newLab(t)
	set := func(caller wire.Caller, key s4t.QuotaKey, limit *int64) (s4t.Project, error) {
		return try[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: caller, Ref: "default", Quota: map[s4t.QuotaKey]*int64{key: limit}})
	}
	nine, negative := int64(9), int64(-2)
	for name, tt := range map[string]struct {
		caller wire.Caller
		key    s4t.QuotaKey
		limit  *int64
		kind   s4t.Kind
	}{
		"a member":            {l.member, s4t.QuotaPorts, &nine, s4t.Forbidden},
		"another project":     {l.foreign, s4t.QuotaPorts, &nine, s4t.NotFound},
		"a key that is none":  {l.admin, "cups", &nine, s4t.Invalid},
		"a limit that is not": {l.admin, s4t.QuotaPorts, &negative, s4t.Invalid},
	} {
		if _, err := set(tt.caller, tt.key, tt.limit); s4t.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p, err := set(l.admin, s4t.QuotaPorts, &nine); err != nil || p.Quota[s4t.QuotaPorts] != (s4t.Quota{Limit: 9}) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := set(l.admin, s4t.QuotaPorts, nil); err != nil || p.Quota[s4t.QuotaPorts] != (s4t.Quota{Limit: s4t.DefaultQuota[s4t.QuotaPorts]}) {
		t.Errorf("%+v, %v", p, err)
	}
}
