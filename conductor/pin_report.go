package conductor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// maxPinReport bounds the cloud's copy of a board's pins, in bytes of JSON.
const maxPinReport = s4t.MaxMessage * 15 / 16

// boardPins takes what a board says of its pins by itself. A report of what the
// cloud knows writes nothing.
func (c *Conductor) boardPins(ctx context.Context, req wire.PinReport) (wire.Empty, error) {
	op := fmt.Sprintf("take the pins of board %q", req.Board)
	if len(req.Ended) > s4t.MaxPins {
		return wire.Empty{}, s4t.Errorf(s4t.TooMany, op, "", "it tells of %d ends, at most %d are possible at once", len(req.Ended), s4t.MaxPins)
	}
	var text []byte
	if req.Pins != nil {
		var err error
		if text, err = copyPins(op, *req.Pins); err != nil {
			return wire.Empty{}, err
		}
	}
	if len(req.Ended) == 0 {
		same, err := view(ctx, c, func(tx *store.Tx) (bool, error) {
			r, err := tx.Route(req.Board)
			if err != nil || r.Epoch != req.Epoch || r.Status != s4t.BoardOnline {
				return false, err
			}
			return samePins(tx, req.Board, text)
		})
		if err != nil || same {
			return wire.Empty{}, err
		}
	}
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(req.Board)
		if err != nil {
			return err
		}
		if err := current(op, &b, req.Epoch); err != nil {
			return err
		}
		same, err := samePins(ch.Tx, b.ID, text)
		if err != nil {
			return err
		}
		if !same {
			if err := ch.SetBoardPins(b.ID, text, ch.now); err != nil {
				return err
			}
			n := len(*req.Pins)
			ch.event(s4t.Event{Kind: "pins.changed", Project: b.Project, Object: string(b.ID), Name: b.Name, Board: b.Name,
				Detail: fmt.Sprintf("%d pins", n), Data: map[string]int{"pins": n}})
		}
		// In the order of their operations, which is that of their locks.
		ended := slices.SortedStableFunc(slices.Values(req.Ended), func(a, b wire.PinEnded) int { return cmp.Compare(a.Operation, b.Operation) })
		for _, e := range ended {
			if err := ch.pinEnded(b, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// samePins reports whether pins, as JSON, are those that the cloud knows; nil is
// nothing new.
func samePins(tx *store.Tx, board s4t.BoardID, pins []byte) (bool, error) {
	if pins == nil {
		return true, nil
	}
	digest, err := tx.PinsDigest(board)
	return digest == store.DigestPins(pins), err
}

// copyPins makes of what a board says of its pins what the cloud keeps.
func copyPins(op string, pins []s4t.Pin) ([]byte, error) {
	if len(pins) > s4t.MaxPins {
		return nil, s4t.Errorf(s4t.TooMany, op, "", "it has %d pins, at most %d are possible", len(pins), s4t.MaxPins)
	}
	kept := make([]s4t.Pin, 0, len(pins))
	for _, p := range pins {
		if err := s4t.ValidPinName(p.Name); err != nil {
			return nil, err
		}
		cleanPin(&p)
		p.Value, p.At, p.Lease = nil, nil, nil
		kept = append(kept, p)
	}
	slices.SortFunc(kept, func(a, b s4t.Pin) int { return cmp.Compare(a.Name, b.Name) })
	kept = slices.CompactFunc(kept, func(a, b s4t.Pin) bool { return a.Name == b.Name })
	text, err := json.Marshal(kept)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "they cannot be written: %w", err)
	}
	if len(text) > maxPinReport {
		return nil, s4t.Errorf(s4t.TooMany, op, "", "its pins have %d bytes, at most %d are possible", len(text), maxPinReport)
	}
	return text, nil
}

// cleanPin leaves in what a board says of a pin, whose name is valid, only what can
// be shown.
func cleanPin(p *s4t.Pin) {
	for text, most := range map[*string]int{
		&p.Driver: s4t.MaxName, &p.Device: s4t.MaxName, (*string)(&p.Kind): s4t.MaxName, &p.Direction: s4t.MaxName, &p.Unit: s4t.MaxName,
		&p.Guarantee: wire.MaxProblem, &p.Problem: wire.MaxProblem,
	} {
		*text = s4t.Line(*text, most)
	}
	if s4t.ValidPinPart(p.Label) != nil {
		p.Label = ""
	}
	p.Keys = slices.DeleteFunc(slices.Compact(p.Keys), func(k string) bool { return !slices.Contains(s4t.PinKeys, k) })
	p.Keys = p.Keys[:min(len(p.Keys), len(s4t.PinKeys))]
	for key, value := range p.Settings {
		if !slices.Contains(s4t.PinKeys, key) {
			delete(p.Settings, key)
		} else if line := s4t.Line(value, s4t.MaxLabelText); line != value {
			p.Settings[key] = line
		}
	}
	if p.Lease != nil {
		p.Lease.Holder = s4t.Line(p.Lease.Holder, wire.MaxProblem)
	}
}

// pinEnded takes that a value which was written for a time, or a claim, is over:
// its operation ends, and who watches is told. A board that did not hear that it
// was heard says it again: an operation ends once, an event may come twice.
func (ch *change) pinEnded(b store.Board, e wire.PinEnded) error {
	if err := s4t.ValidPinName(e.Pin); err != nil {
		return err
	}
	holder, by, detail := s4t.Line(e.Holder, wire.MaxProblem), s4t.Line(e.By, wire.MaxProblem), s4t.Line(e.Detail, wire.MaxProblem)
	n := pinNews{Pin: e.Pin, Holder: holder, By: by, Fence: e.Fence}
	if e.Outcome == wire.PinReaped {
		ch.pinEvent("pin.reaped", b.ID, b.Name, b.Project, fmt.Sprintf("%s took it from %s", by, holder), n)
	} else if e.Fence > 0 {
		ch.pinEvent("pin.released", b.ID, b.Name, b.Project, holder, n)
	}
	if e.Operation == "" {
		return nil
	}
	op, err := ch.LockOperation(e.Operation)
	if s4t.KindOf(err) == s4t.NotFound || err == nil && (op.Kind != opPinWrite || op.Object != string(b.ID) || op.Status != s4t.OperationRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	switch e.Outcome {
	case wire.PinReaped:
		return ch.end(op, assessment{}, s4t.Conflict, fmt.Sprintf("%s took pin %s with a higher priority", by, e.Pin))
	case wire.PinFailed:
		return ch.end(op, assessment{}, s4t.Unavailable, missing("pin "+e.Pin+" could not be kept as it was written", detail))
	}
	return ch.end(op, assessment{}, "", "")
}
