package lightningrod

import (
	"crypto/ed25519"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	boardA = s4t.BoardID("3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11")
	boardB = s4t.BoardID("00000000-0000-4000-8000-00000000000b")
	portA  = s4t.PortID("0a1b2c3d-0000-4000-8000-000000000001")
)

// conductorKey signs the tickets of the tests.
var conductorKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func testIdentity() Identity {
	return Identity{
		Board: boardA, Name: "kitchen", Key: make([]byte, ed25519.SeedSize), URLs: []string{"https://127.0.0.1:8812"},
		TicketKey: conductorKey.Public().(ed25519.PublicKey), JoinedAt: time.Unix(1, 0).UTC(),
	}
}

func testDesired(generation int64) wire.BoardDesired {
	return wire.BoardDesired{Board: boardA, Name: "kitchen", Generation: generation, URLs: []string{"https://127.0.0.1:8812"}, Resources: []wire.Resource{}}
}
