package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Orders to pins: what changes something on the board. Each is in the audit as it
// ended; claims are numbered, and values written for a time are operations.

// opPinWrite is the operation of a value that is written for a time: it runs as
// long as the value is there. Package store knows the word.
const opPinWrite = "pin.write"

// isOrder reports whether what is asked of pins changes something.
func isOrder(do string) bool {
	switch do {
	case wire.PinWrite, wire.PinSet, wire.PinClaim, wire.PinRelease:
		return true
	}
	return false
}

// orderAudit is the record of an order to a board's pins.
func orderAudit(now time.Time, who asker, ask wire.PinAsk) s4t.AuditRecord {
	return s4t.AuditRecord{At: now, User: who.caller.User, Action: "pin." + ask.Do, Outcome: "ok", Detail: orderDetail(ask)}
}

// maxOrderDetail bounds what the audit says of an order, in bytes.
const maxOrderDetail = 255

// orderDetail says what an order is, in one line: "gpio/gpiochip0/17=1 for 10s".
func orderDetail(ask wire.PinAsk) string {
	words := slices.Clone(ask.Pins)
	for _, name := range valueNames(ask) {
		words = append(words, name+"="+s4t.FormatPinValue(ask.Values[name]))
	}
	var settings []string
	for key, value := range ask.Settings {
		settings = append(settings, key+"="+value)
	}
	slices.Sort(settings)
	words = append(words, settings...)
	if ask.For > 0 {
		words = append(words, fmt.Sprintf("for %v", ask.For))
	}
	if ask.Priority > 0 {
		words = append(words, fmt.Sprintf("priority %d", ask.Priority))
	}
	return s4t.Line(strings.Join(words, " "), maxOrderDetail)
}

// orderPins has a board do something with its pins.
func (c *Conductor) orderPins(ctx context.Context, op string, who asker, r store.Route, ask wire.PinAsk) (wire.PinAnswer, error) {
	received := c.now()
	var begun *store.Operation
	if r.Status == s4t.BoardOnline && (ask.Do == wire.PinClaim || ask.Do == wire.PinWrite && ask.For > 0) {
		err := c.change(ctx, func(ch *change) (err error) {
			if begun = nil; ask.Do == wire.PinClaim {
				ask.Fence, err = ch.NextFence(r.ID, 0)
				return err
			}
			begun, err = ch.beginPinWrite(op, r, ask, received)
			return err
		})
		if err != nil {
			return wire.PinAnswer{}, err
		}
	}
	if begun != nil {
		ask.Operation = begun.ID
	}
	a, err := c.askRoute(ctx, op, r, ask)
	if err == nil && ask.Do == wire.PinClaim && a.Fence >= ask.Fence {
		// The database is older than the board: it was restored from a backup.
		err = c.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
			ask.Fence, err = tx.NextFence(r.ID, a.Fence)
			return err
		})
		if err == nil {
			a, err = c.askRoute(ctx, op, r, ask)
		}
		if err == nil && a.Fence >= ask.Fence {
			err = s4t.Errorf(s4t.Stale, op, "try again", "the board knows a newer claim than the cloud can give")
		}
	}
	a.Fence = 0
	if begun != nil && err == nil {
		a.Operation = &begun.Operation
	}
	rec := orderAudit(c.now(), who, ask)
	rec.Project, rec.Object, rec.Name, rec.Board = r.Project, string(r.ID), r.Name, r.ID
	// Whoever asked may have gone: it was done all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatherTimeout)
	defer cancel()
	if wrote := c.ordered(ctx, rec, who, r, ask, a, begun, err); err == nil {
		err = wrote
	}
	return a, err
}

// beginPinWrite begins the operation of a value that is written for a time.
func (ch *change) beginPinWrite(op string, r store.Route, ask wire.PinAsk, received time.Time) (*store.Operation, error) {
	if _, err := ch.LockBoard(r.ID); err != nil {
		return nil, err
	}
	running, err := ch.RunningPinWrites(r.ID)
	if err != nil {
		return nil, err
	}
	if n := len(running); n >= s4t.MaxPins {
		return nil, s4t.Errorf(s4t.TooMany, op, "wait until some of them are over", "%d values are written to the board for a time already", n).After(time.Second)
	}
	o := store.Operation{
		Operation: s4t.Operation{
			ID: s4t.NewOperationID(), Kind: opPinWrite, Project: r.Project, Object: string(r.ID), Status: s4t.OperationRunning,
			Steps: appendStep(appendStep(nil, stepAsk, received), stepQueue, received), CreatedAt: received,
		},
		Name: r.Name,
	}
	ch.operationEvent("operation.started", o, orderDetail(ask))
	ch.moved = append(ch.moved, o.ID)
	return &o, ch.InsertOperation(o, ask.For+operationTimeout)
}

// endPinWrites ends what runs of a board that goes, when the rest of it has gone.
func (ch *change) endPinWrites(b store.Board) {
	ch.later(func() error {
		running, err := ch.RunningPinWrites(b.ID)
		for _, id := range running {
			if err != nil {
				break
			}
			var op store.Operation
			if op, err = ch.LockOperation(id); err == nil {
				err = ch.end(op, assessment{}, s4t.Offline, "the board has left, or was deleted")
			}
		}
		return err
	})
}

// ordered records how an order went: in the audit, and as an event. The operation
// of one that was refused ends; where the board was silent it may have been done,
// and goes back by itself.
func (c *Conductor) ordered(ctx context.Context, rec s4t.AuditRecord, who asker, r store.Route, ask wire.PinAsk, got wire.PinAnswer, begun *store.Operation, failed error) error {
	if failed != nil {
		kind := s4t.KindOf(failed)
		if r.Status == s4t.BoardOnline && kind != s4t.Invalid && kind != s4t.NotFound {
			c.refused(ctx, rec, kind)
		}
		if begun == nil {
			return nil
		}
	}
	return c.change(ctx, func(ch *change) error {
		if failed != nil {
			return ch.end(*begun, assessment{}, s4t.KindOf(failed), failed.Error())
		}
		if ask.Do == wire.PinClaim {
			pin := ask.Pins[0]
			if len(got.Pins) == 1 {
				pin = got.Pins[0].Name // it may have been named by its label
			}
			ch.pinEvent("pin.claimed", r.ID, r.Name, r.Project, who.name, pinNews{Pin: pin, Holder: who.name, Priority: ask.Priority, Fence: ask.Fence})
		}
		return ch.InsertAudits(told(rec, r.Owner))
	})
}

// pinNews is the data of an event about a pin that somebody has, or had.
type pinNews struct {
	Pin      string `json:"pin"`
	Holder   string `json:"holder"`       // for people
	By       string `json:"by,omitempty"` // who took it
	Priority int    `json:"priority,omitempty"`
	Fence    int64  `json:"fence,omitempty"` // of a claim
}

// pinEvent appends an event about a pin of a board. detail follows the pin.
func (ch *change) pinEvent(kind string, board s4t.BoardID, name string, project s4t.ProjectID, detail string, n pinNews) {
	ch.event(s4t.Event{Kind: kind, Project: project, Object: string(board), Name: name, Board: name, Detail: n.Pin + ": " + detail, Data: n})
}
