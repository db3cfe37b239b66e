package conductor

import (
	"context"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// What pins were like before a lease first changed them is kept with it, and they are made so again
// when it is over and the board is there.

// backAtOnce is how many pins are given back before it is looked which others are.
const backAtOnce = 64

// keepPins keeps how the pins of an order by a lease are now, of those of which it is not known yet.
// Where the board does not say, there is no order either.
func (c *Conductor) keepPins(ctx context.Context, op string, r store.Route, by right, ask wire.PinAsk) error {
	if ask.Do == wire.PinRelease {
		return nil
	}
	kept, err := view(ctx, c, func(tx *store.Tx) ([]store.LeasedPin, error) { return tx.LeasedPins(by.Lease, r.ID) })
	if err != nil {
		return err
	}
	var fresh []string
	for _, name := range append(valueNames(ask), ask.Pins...) {
		if !slices.ContainsFunc(kept, func(k store.LeasedPin) bool { return k.Pin == name }) {
			fresh = append(fresh, name)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	a, err := c.askRoute(ctx, op, r, wire.PinAsk{Do: wire.PinList, Pins: fresh, Project: by.Project, Holder: ask.Holder, HolderName: ask.HolderName})
	if err != nil {
		return err
	}
	var was []store.LeasedPin
	for _, p := range a.Pins {
		k := store.LeasedPin{Lease: by.Lease, Board: r.ID, Pin: p.Name, Settings: map[string]string{}, Holder: ask.Holder}
		for _, key := range p.Keys {
			if value, has := p.Settings[key]; has {
				k.Settings[key] = value
			}
		}
		if p.Writable {
			k.Value = p.Value
		}
		was = append(was, k)
	}
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		l, err := tx.LeaseByID(by.Lease)
		if err == nil && l.Status.Over() { // since a moment: nobody would give them back
			err = s4t.Errorf(s4t.Forbidden, op, "", "lease %q is over", l.Name)
		}
		if err != nil {
			return err
		}
		return tx.KeepPins(was)
	})
}

// pinsDue has pins given back where some are to be: who does that may wait for boards, which the upkeep
// does not.
func (c *Conductor) pinsDue(ctx context.Context) error {
	some, err := view(ctx, c, func(tx *store.Tx) ([]store.LeasedPin, error) { return tx.PinsToGiveBack(1) })
	if err == nil && len(some) > 0 {
		select {
		case c.backPins <- struct{}{}:
		default:
		}
	}
	return err
}

// givePinsBack does that, whenever it is due, until ctx ends.
func (c *Conductor) givePinsBack(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.backPins:
		}
		some, err := view(ctx, c, func(tx *store.Tx) ([]store.LeasedPin, error) { return tx.PinsToGiveBack(backAtOnce) })
		silent := map[s4t.BoardID]bool{} // they are asked again in the next round
		for _, p := range some {
			if err != nil || ctx.Err() != nil {
				break
			}
			if !silent[p.Board] {
				silent[p.Board], err = c.givePinBack(ctx, p)
			}
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("upkeep goes on later", "what", "give pins back", "err", err)
		}
	}
}

// givePinBack makes a pin what it was: settings, then the value. It acts as who had it by the lease, and
// so lets go of what that had; a pin that somebody else has by now stays. silent: the board does not
// answer.
func (c *Conductor) givePinBack(ctx context.Context, p store.LeasedPin) (silent bool, err error) {
	const op = "give a pin back"
	r, err := view(ctx, c, func(tx *store.Tx) (store.Route, error) { return tx.Route(p.Board) })
	if err != nil {
		return false, err
	}
	asks := []wire.PinAsk{{Do: wire.PinRelease, Pins: []string{p.Pin}}}
	if len(p.Settings) > 0 {
		asks = append(asks, wire.PinAsk{Do: wire.PinSet, Pins: []string{p.Pin}, Settings: p.Settings})
	}
	if p.Value != nil {
		asks = append(asks, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{p.Pin: *p.Value}})
	}
	outcome, detail := "ok", ""
	for i, ask := range asks {
		ask.Holder, ask.HolderName = p.Holder, "the end of a lease"
		_, err := c.askRoute(ctx, op, r, ask)
		if away(err) || s4t.KindOf(err) == s4t.Timeout {
			return true, nil
		}
		if err != nil && i > 0 { // what it had may have ended by itself
			outcome, detail = string(s4t.KindOf(err)), ": "+reasonOf(err)
		}
	}
	rec := s4t.AuditRecord{At: c.now(), User: "lease:" + string(p.Lease), Project: r.Project, Action: "pin.restore", Object: string(r.ID), Name: r.Name, Board: r.ID, Outcome: outcome, Detail: s4t.Line(p.Pin+detail, maxOrderDetail)}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 8*time.Second)
	defer cancel()
	return false, c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.ForgetPin(p); err != nil {
			return err
		}
		l, err := tx.LeaseByID(p.Lease)
		if err != nil && s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		return tx.InsertAudits(told(rec, l.Project)) // who had it, too
	})
}
