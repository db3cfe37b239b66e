package conductor

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// asked are requests for each use of a board, by who asks and which board.
var asked = map[use]func(wire.Caller, string) any{
	wire.MethodBoardGet:       refTo,
	wire.MethodBoardUpdate:    func(c wire.Caller, b string) any { return wire.BoardUpdate{Caller: c, Ref: b} },
	wire.MethodBoardDelete:    refTo,
	wire.MethodBoardPlaces:    refTo,
	wire.MethodBoardTransfer:  func(c wire.Caller, b string) any { return wire.BoardTransfer{Caller: c, Ref: b, To: string(otherID)} },
	wire.MethodBoardDoctor:    refTo,
	wire.MethodBoardProfile:   refTo,
	wire.MethodHealthGet:      refTo,
	wire.MethodOutageList:     func(c wire.Caller, b string) any { return wire.OutageList{Caller: c, Board: b} },
	wire.MethodCalendarCreate: func(c wire.Caller, b string) any { return wire.CalendarCreate{Caller: c, Board: b} },
	wire.MethodWhoCan:         func(c wire.Caller, b string) any { return wire.WhoCan{Caller: c, Board: b} },

	wire.MethodFleetCreate: func(c wire.Caller, b string) any { return wire.FleetCreate{Caller: c, Name: "f", Boards: []string{b}} },
	wire.MethodFleetUpdate: func(c wire.Caller, b string) any {
		return wire.FleetUpdate{Caller: c, Ref: "own", Boards: &[]string{b}}
	},
	wire.MethodOfferCreate: func(c wire.Caller, b string) any { return wire.OfferCreate{Caller: c, Name: "o", Boards: []string{b}} },

	streamSSH:                func(c wire.Caller, b string) any { return wire.StreamOpen{Caller: c, Board: b, TCPPort: 22} },
	wire.MethodStreamOpen:    func(c wire.Caller, b string) any { return wire.StreamOpen{Caller: c, Board: b, TCPPort: 80} },
	wire.MethodServiceExpose: func(c wire.Caller, b string) any { return wire.ServiceExpose{Caller: c, Board: b, Service: "8080"} },
	wire.MethodServiceList:   func(c wire.Caller, b string) any { return wire.ServiceList{Caller: c, Board: b} },
	wire.MethodServiceUpdate: func(c wire.Caller, b string) any { return wire.ServiceUpdate{Caller: c, Board: b, Service: "1"} },
	wire.MethodServiceHide:   func(c wire.Caller, b string) any { return wire.ServiceHide{Caller: c, Board: b, Service: "1"} },

	wire.MethodBridgeCreate: func(c wire.Caller, b string) any {
		return wire.BridgeCreate{Caller: c, Name: "n" + s4t.NewID()[:8], Boards: []string{b}}
	},
	wire.MethodBridgeAdd: func(c wire.Caller, b string) any {
		return wire.BridgeChange{Caller: c, Ref: "own", Boards: []string{b}}
	},
	wire.MethodBridgeRemove: func(c wire.Caller, b string) any {
		return wire.BridgeChange{Caller: c, Ref: "own", Boards: []string{b}}
	},

	wire.MethodPinAsk: func(c wire.Caller, b string) any {
		return wire.PinRequest{Caller: c, Board: b, Ask: wire.PinAsk{Do: wire.PinList}}
	},
	wire.MethodPinAll: func(c wire.Caller, b string) any { return wire.PinAll{Caller: c, Boards: []string{b}} },
	wire.MethodPinWatch: func(c wire.Caller, b string) any {
		return wire.PinWatch{Caller: c, Board: b, Sink: wire.Sink{Topic: wire.TopicAPIPins + ".x"}}
	},

	wire.MethodCommandRun:   func(c wire.Caller, b string) any { return wire.CommandRun{Caller: c, Board: b, Command: "x"} },
	wire.MethodCommandFleet: nil, // what stands against one board is in the answer
	wire.MethodCommandList:  func(c wire.Caller, b string) any { return wire.CommandList{Caller: c, Board: b} },
	wire.MethodCommandGet:   func(c wire.Caller, b string) any { return wire.CommandGet{Caller: c, Board: b, Command: "x"} },

	wire.MethodPluginInject: func(c wire.Caller, b string) any { return wire.PluginInject{Caller: c, Board: b, Plugin: "p"} },
	wire.MethodPluginAct: func(c wire.Caller, b string) any {
		return wire.PluginAct{Caller: c, Board: b, Plugin: "p", Do: wire.PluginStop}
	},
	wire.MethodPluginStatus: func(c wire.Caller, b string) any { return wire.PluginStatus{Caller: c, Board: b} },
	wire.MethodBoardAsk: func(c wire.Caller, b string) any {
		return wire.BoardQuestion{Caller: c, Board: b, Ask: wire.CodeAsk{Do: wire.CodeLogs, Plugin: "p"}}
	},
	wire.MethodFeedFollow: func(c wire.Caller, b string) any {
		return wire.FeedFollow{Caller: c, Board: b, Plugin: "p", Feed: wire.Feed{Topic: wire.TopicAPIFeeds + ".x", ID: s4t.NewID()}}
	},
}

var noSuchBoard = regexp.MustCompile(`: board "[^"]*" does not exist`)

func refTo(c wire.Caller, b string) any { return wire.RefRequest{Caller: c, Ref: b} }

// TestEachUseOfABoardIsByARight walks over all uses of boards, for each who may ask: what a lease
// does not allow is refused, what somebody was told nothing of does not exist.
func TestEachUseOfABoardIsByARight(t *testing.T) {
	if a, b := slices.Sorted(maps.Keys(uses)), slices.Sorted(maps.Keys(asked)); !slices.Equal(a, b) {
		t.Fatalf("uses without a request here, or the other way round:\n%q\n%q", a, b)
	}
	l := newLab(t)
	own, all := l.online("own"), l.online("all")
	owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
	lessee := vouched(l.key, wire.Caller{User: "eve", Project: otherID, Role: s4t.RoleManager})
	call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "lent", Boards: []string{"own", "all"}, To: []string{string(otherID)}, Shared: true})
	for _, c := range []wire.Caller{owner, lessee} {
		call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: c, Name: "own"})
	}
	call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: lessee, Name: "mine"})
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: lessee, Name: "own", Boards: []string{"mine"}}))
	// What comes of a request that may be made: it goes on until something else stands against it.
	kindOf := func(u use, c wire.Caller, board string) (s4t.Kind, string) {
		method, _, _ := strings.Cut(string(u), " ")
		_, err := try[any](l, method, asked[u](c, board))
		text := ""
		if err != nil {
			text = err.Error()
		}
		return s4t.KindOf(err), text
	}
	refused := func(text string) bool {
		return strings.Contains(text, "that needs a lease that allows") || strings.Contains(text, "its owner's to do")
	}
	unknown := func(kind s4t.Kind, text string) bool {
		return kind == s4t.NotFound && noSuchBoard.MatchString(text)
	}
	for u := range uses {
		if asked[u] == nil {
			continue
		}
		for _, ref := range []string{"all", string(all.id)} {
			if kind, text := kindOf(u, lessee, ref); !unknown(kind, text) {
				t.Errorf("%s of %s by a stranger: %s %s", u, ref, kind, text)
			}
		}
	}
	for _, action := range lease.Actions() {
		held := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: lessee, Boards: []string{"all"}, Allow: []string{string(action)}, For: 600})
		for u, needs := range uses {
			if asked[u] == nil {
				continue
			}
			kind, text := kindOf(u, lessee, "all")
			switch may := needs == action || needs == toLook; {
			case unknown(kind, text):
				t.Errorf("%s: %s with %s: the board is not found: %s", action, u, needs, text)
			case may == refused(text):
				t.Errorf("%s: %s, which needs %q: %s %s", action, u, needs, kind, text)
			}
			if kind, text := kindOf(u, lessee, string(own.id)); !unknown(kind, text) {
				t.Errorf("%s of a board that is not leased: %s %s", u, kind, text)
			}
		}
		call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: lessee, Ref: held.Name})
		if kind, text := kindOf(wire.MethodBoardGet, lessee, "all"); !unknown(kind, text) {
			t.Errorf("after the lease: %s %s", kind, text)
		}
	}
	const thirdID s4t.ProjectID = "33333333-3333-4333-8333-333333333333"
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		return tx.InsertProject(s4t.Project{ID: thirdID, Name: "third", Weight: 1, CreatedAt: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	guest := vouched(l.key, wire.Caller{User: "gus", Project: thirdID, Role: s4t.RoleManager})
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: guest, Name: "own"})
	call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: guest, Name: "mine"})
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: guest, Name: "own", Boards: []string{"mine"}}))
	whole := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: lessee, Boards: []string{"all"}, For: 600})
	call[s4t.Lease](l, wire.MethodLeaseShare, wire.LeaseShare{Caller: lessee, Ref: whole.Name, To: "third", Allow: []string{"pins", "ssh"}})
	for u, needs := range uses {
		if asked[u] == nil {
			continue
		}
		kind, text := kindOf(u, guest, "all")
		if may := needs == lease.Pins || needs == lease.SSH || needs == toLook; unknown(kind, text) || may == refused(text) {
			t.Errorf("%s by a share for pins and ssh, which needs %q: %s %s", u, needs, kind, text)
		}
	}
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: lessee, Ref: whole.Name})
	if kind, text := kindOf(wire.MethodBoardGet, guest, "all"); !unknown(kind, text) {
		t.Errorf("after what it is a share of: %s %s", kind, text)
	}
	for u := range uses {
		if asked[u] == nil || u == wire.MethodBoardDelete {
			continue
		}
		if kind, text := kindOf(u, owner, "all"); unknown(kind, text) || refused(text) {
			t.Errorf("%s by the owner: %s %s", u, kind, text)
		}
	}
	if _, _, err := findBoard(nil, owner, "x", "nothing", "all"); s4t.KindOf(err) != s4t.Internal {
		t.Errorf("a use that nobody knows: %v", err)
	}
}
