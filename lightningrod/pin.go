package lightningrod

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what the cloud asks of pins at once. A question to a driver that blocks
// waits as long as the cloud does, and less: the cloud hears which pin it was.
const (
	maxPinAsks  = 8
	pinAskLimit = s4t.PinAnswerTime - 200*time.Millisecond
)

// boardPins are the board's pins: found and worked by the HAL, shown in a tree, and joined
// with the cloud.
type boardPins struct {
	hal    *hal.HAL
	tree   *pinTree
	board  s4t.BoardID
	online func() (c cloud, epoch int64, changed <-chan struct{})
	asks   chan struct{} // a slot for each question that is being answered
	watch  *pinWatch
	admit  func(op string) error                                             // an error: nothing of others changes pins now, by the owner's word
	may    func(ctx context.Context, op string, project s4t.ProjectID) error // an error: no lease lets the project have to do with pins now, see leases
	log    *slog.Logger
}

// openPins finds the pins. Nothing of them runs yet. The lock of the state is held,
// and the identity read.
func (e *Engine) openPins() error {
	e.remote = newRemotePins(e.id.Board, e.online, e.cfg.Log)
	var cfg hal.Config
	switch {
	case e.cfg.Pins != nil:
		cfg = *e.cfg.Pins
	case e.cfg.IO == "" && e.cfg.IOConfig == "":
		return nil
	}
	cfg.File, cfg.State, cfg.Log = e.cfg.IOConfig, string(e.dir), e.cfg.Log
	h, err := hal.New(cfg)
	if err != nil {
		return err
	}
	e.pins = newPins(h, e.cfg.IO, e.id.Board, e.online, e.cfg.Log)
	e.pins.tree.note = func() { e.dir.noteTree(e.cfg.IO, e.cfg.Log) }
	e.pins.admit = func(op string) error { return e.profile.admit(op, false) }
	e.pins.may = func(ctx context.Context, op string, project s4t.ProjectID) error {
		_, err := e.leases.may(ctx, op, project, "", lease.Pins)
		return err
	}
	e.pins.watch.allowed = func(project s4t.ProjectID) bool {
		_, err := e.leases.decide("watch pins of the board", project, "", lease.Pins)
		return err == nil
	}
	e.pins.watch.sent = func(n int) { e.profile.traffic.usage.own().samples.Add(int64(n)) }
	return nil
}

func newPins(h *hal.HAL, dir string, board s4t.BoardID, online func() (cloud, int64, <-chan struct{}), log *slog.Logger) *boardPins {
	return &boardPins{
		hal: h, tree: newPinTree(dir, h, log), board: board, online: online,
		asks: make(chan struct{}, maxPinAsks), watch: newPinWatch(h), admit: func(string) error { return nil },
		may: func(context.Context, string, s4t.ProjectID) error { return nil }, log: log,
	}
}

// run works the pins until ctx ends. The tree goes first, then the outputs fall back.
func (p *boardPins) run(ctx context.Context) {
	working, fallBack := context.WithCancel(context.WithoutCancel(ctx))
	var worker, users sync.WaitGroup
	worker.Go(func() {
		if err := p.hal.Run(working); err != nil {
			p.log.Error("the board's pins are not worked any more", "err", err)
		}
	})
	users.Go(func() { p.tree.run(ctx) })
	users.Go(func() { p.follow(ctx) })
	p.sessions(ctx)
	users.Wait()
	fallBack()
	worker.Wait()
}

// follow keeps what is watched in step with the pins that are there.
func (p *boardPins) follow(ctx context.Context) {
	for {
		changed := p.hal.Changed()
		p.watch.refresh()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// sessions tells each session's cloud of the pins, and sends what it watches.
func (p *boardPins) sessions(ctx context.Context) {
	for ctx.Err() == nil {
		c, epoch, changed := p.online()
		if c != nil {
			var both sync.WaitGroup
			both.Go(func() { p.report(ctx, c, epoch) })
			both.Go(func() { p.watch.send(ctx, c, p.board, p.log) })
			both.Wait()
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// status says how they are.
func (p *boardPins) status() *IOStatus {
	dir, problem := p.tree.state()
	return &IOStatus{Dir: dir, Pins: len(p.hal.Pins()), Problem: problem}
}

// problems lists what is wrong with them.
func (p *boardPins) problems() []string {
	var list []string
	if _, problem := p.tree.state(); problem != "" {
		list = append(list, problem)
	}
	return append(list, p.hal.Problems()...)
}

// handler answers what one session asks.
func (p *boardPins) handler(of cloud) wamp.Handler {
	return func(ctx context.Context, question string) (string, error) { return p.answer(ctx, of, question) }
}

// answer answers the cloud's [wire.PinAsk], in JSON.
func (p *boardPins) answer(ctx context.Context, of cloud, question string) (string, error) {
	var ask wire.PinAsk
	if err := json.Unmarshal([]byte(question), &ask); err != nil {
		return "", s4t.Errorf(s4t.Invalid, "ask for pins", "", "the question is not understood: %w", err)
	}
	select {
	case p.asks <- struct{}{}:
		defer func() { <-p.asks }()
	default:
		return "", s4t.Errorf(s4t.TooMany, "ask for pins", "try again in a moment", "the board answers %d questions about its pins already", maxPinAsks)
	}
	ctx, cancel := context.WithTimeout(ctx, pinAskLimit)
	defer cancel()
	a, err := p.do(ctx, of, ask)
	if err != nil {
		return "", err
	}
	return string(wire.Encode(a)), nil
}

// do carries out one question or order of the cloud.
func (p *boardPins) do(ctx context.Context, of cloud, ask wire.PinAsk) (a wire.PinAnswer, err error) {
	if n := len(ask.Pins) + len(ask.Values); n > s4t.MaxPins {
		return a, s4t.Errorf(s4t.TooMany, "ask for pins", "ask for fewer", "%d pins are named, a board has %d at most", n, s4t.MaxPins)
	}
	switch ask.Do {
	case wire.PinWrite, wire.PinSet, wire.PinClaim:
		if err := p.admit(ask.Do + " pins of the board"); err != nil {
			return a, err
		}
	}
	if err := p.allowed(ctx, ask); err != nil {
		return a, err
	}
	switch ask.Do {
	case wire.PinWatched:
		return p.watch.start(ctx, of, ask)
	case wire.PinList:
		if len(ask.Pins) == 0 {
			return wire.PinAnswer{Pins: p.list()}, nil
		}
	case wire.PinWrite:
		return p.write(ctx, ask)
	}
	list, err := p.find(ask.Pins)
	if err != nil {
		return a, err
	}
	switch ask.Do {
	case wire.PinList:
		return infoOf(list), nil
	case wire.PinRead:
		a.Samples, err = readPins(ctx, list)
		return a, err
	case wire.PinHistory:
		return history(list, ask), nil
	}
	if len(list) != 1 {
		return a, s4t.Errorf(s4t.Invalid, ask.Do+" a pin", "name one", "%d pins are named", len(list))
	}
	pin := list[0]
	if err := p.writable(ask.Do, pin.Info().Name); err != nil {
		return a, err
	}
	switch ask.Do {
	case wire.PinSet:
		err = pin.Set(ctx, ask.Settings)
	case wire.PinClaim:
		err = pin.Claim(ctx, hal.Claim{For: ask.For, Priority: ask.Priority, Fence: ask.Fence, Holder: ask.Holder, HolderName: ask.HolderName})
		if known := pin.Fence(); s4t.KindOf(err) == s4t.Stale && known >= ask.Fence {
			return wire.PinAnswer{Fence: known}, nil // a cloud whose database is a backup counts on from there
		}
	case wire.PinRelease:
		err = pin.Release(ctx, ask.Holder, ask.Priority)
	default:
		err = s4t.Errorf(s4t.Invalid, "ask for pins", "lightning-rod may be older than the cloud: update it", "the board cannot %q", ask.Do)
	}
	if err != nil {
		return a, err
	}
	a = infoOf(list)
	if l := a.Pins[0].Lease; ask.Do == wire.PinClaim && (l == nil || l.Fence != ask.Fence) { // as good as refused
		return wire.PinAnswer{}, s4t.Errorf(s4t.Conflict, "claim "+a.Pins[0].Name, "see who has it, and claim it again", "the claim was over before it was told: somebody took or released the pin")
	}
	return a, nil
}

// allowed refuses what no lease allows. Of a watch by several projects those parts are left out later
// which are not allowed; it is refused where none is.
func (p *boardPins) allowed(ctx context.Context, ask wire.PinAsk) error {
	op := ask.Do + " pins of the board"
	if ask.Do != wire.PinWatched {
		return p.may(ctx, op, ask.Project)
	}
	var first error
	for _, s := range ask.Shares {
		err := p.may(ctx, op, s.Project)
		if err == nil {
			first = nil
			break
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// list is what the cloud may see of all pins.
func (p *boardPins) list() []s4t.Pin {
	all := p.hal.Pins()
	return slices.DeleteFunc(all, func(pin s4t.Pin) bool { return p.hal.Cloud(pin.Name) == hal.CloudNone })
}

// find finds pins by name or label. One that the owner hides is not there.
func (p *boardPins) find(names []string) (list []*hal.Pin, err error) {
	for _, name := range names {
		pin, err := p.hal.Pin(name)
		if err != nil {
			return nil, err
		}
		if p.hal.Cloud(pin.Info().Name) == hal.CloudNone {
			return nil, s4t.Errorf(s4t.NotFound, "find pin "+s4t.Line(name, s4t.MaxName), "`s4t pin list BOARD` shows those that are there", "the board has no such pin")
		}
		list = append(list, pin)
	}
	return list, nil
}

// writable says whether the owner lets the cloud change a pin.
func (p *boardPins) writable(do, name string) error {
	if may := p.hal.Cloud(name); may != hal.CloudWrite {
		return s4t.Errorf(s4t.Forbidden, do+" pin "+name, `the owner of the board can allow it: cloud = "write" of the pin in its io-config`, "the owner of the board lets the cloud only %s it", may)
	}
	return nil
}

// write writes the values of all pins or, where one is refused, of none.
func (p *boardPins) write(ctx context.Context, ask wire.PinAsk) (a wire.PinAnswer, err error) {
	names := make([]string, 0, len(ask.Values))
	for name := range ask.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return a, s4t.Errorf(s4t.Invalid, "write pins", "name a pin and its value", "none is named")
	}
	list, err := p.find(names)
	if err != nil {
		return a, err
	}
	orders := make([]hal.Order, len(names))
	for i, name := range names {
		if err := p.writable(wire.PinWrite, list[i].Info().Name); err != nil {
			return a, err
		}
		orders[i] = hal.Order{
			Value: ask.Values[name], For: ask.For, Priority: ask.Priority, Fence: ask.Fence,
			Holder: ask.Holder, HolderName: ask.HolderName, Tag: string(ask.Operation),
		}
	}
	if err := p.hal.Write(ctx, list, orders); err != nil {
		return a, err
	}
	return infoOf(list), nil
}

func infoOf(list []*hal.Pin) (a wire.PinAnswer) {
	for _, pin := range list {
		a.Pins = append(a.Pins, pin.Info())
	}
	return a
}

// readPins reads the newest value of each pin. Those that must be asked are asked at
// once: a slow one costs its own time only.
func readPins(ctx context.Context, list []*hal.Pin) ([]s4t.Sample, error) {
	out := make([]s4t.Sample, len(list))
	errs := make([]error, len(list))
	var asking sync.WaitGroup
	for i, pin := range list {
		s, ok := pin.Newest()
		if out[i] = s; !ok {
			asking.Go(func() { out[i], errs[i] = pin.Read(ctx) })
		}
	}
	asking.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// history is a page of samples of several pins, by time. What a page has not, the next
// one has, which is asked for after the last of each pin: no page has a sample that is
// older than one of the page before.
func history(list []*hal.Pin, ask wire.PinAsk) (a wire.PinAnswer) {
	limit := ask.Limit
	if limit < 1 || limit > wire.MaxSamples {
		limit = wire.MaxSamples
	}
	each := max(limit/max(len(list), 1), 1)
	var horizon time.Time // until when all are known
	for _, pin := range list {
		got, more := pin.History(ask.After[pin.Info().Name], ask.Since, each)
		a.Samples = append(a.Samples, got...)
		if more && len(got) > 0 {
			a.More = true
			if last := got[len(got)-1].At; horizon.IsZero() || last.Before(horizon) {
				horizon = last
			}
		}
	}
	slices.SortStableFunc(a.Samples, func(x, y s4t.Sample) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Pin, y.Pin)) })
	if a.More {
		a.Samples = slices.DeleteFunc(a.Samples, func(s s4t.Sample) bool { return s.At.After(horizon) })
	}
	return a
}
