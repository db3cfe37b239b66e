package lightningrod

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wire"
)

// A board that is lent enforces that itself: it has a book, signed by the cloud, of who holds it, and
// asks it before anything begins that a lease may allow. What is open by a lease ends with it, with
// the cloud or without.

const (
	// newerWithin is how long something that the board would refuse waits for a newer book: the cloud
	// has allowed it, so it may know of a lease that the board does not.
	newerWithin = 3 * time.Second

	// lookLeased is how often the board looks whether a lease is over while one lasts, and lookUnleased
	// while none does: the timers of a program stand still while the machine sleeps, and leases do not.
	lookLeased   = 500 * time.Millisecond
	lookUnleased = time.Minute

	// lookAfter is how long it looks that often after a change: something may have been on its way.
	lookAfter = 10 * time.Second
)

// leases are what the board knows of who holds it.
type leases struct {
	board  s4t.BoardID
	dir    stateDir
	key    func() ed25519.PublicKey                      // that signs books
	owner  func() s4t.ProjectID                          // as the desired state says, where there is no book; empty: not known
	online func() (online bool, changed <-chan struct{}) // is there a session with the cloud
	fetch  func()                                        // asks the cloud for the newest soon; must not block
	end    func(over func(id s4t.LeaseID) bool)          // ends what is open by leases that are over, and has what began
	moment func() lease.Moment                           // a clock that nobody sets
	log    *slog.Logger

	book atomic.Pointer[lease.Book]
	wake chan struct{} // run looks again

	mu      sync.Mutex                // guards the fields below
	signed  time.Time                 // of the book that is there
	kept    bool                      // it is on disk, or its predecessor
	asked   int                       // how often the cloud was asked for the desired state, which has the book
	told    int                       // which of them was answered
	came    chan struct{}             // closed when one was answered, and replaced
	problem string                    // why the last one was not taken
	without map[wire.ResourceKey]bool // what of the desired state is not applied, as leases do not allow it
}

// newLeases makes the leases of a board that has no book yet. The fields that are functions are the
// caller's to set before anything else is called.
func newLeases(board s4t.BoardID, dir stateDir, log *slog.Logger) *leases {
	return &leases{
		board: board, dir: dir, owner: func() s4t.ProjectID { return "" }, online: func() (bool, <-chan struct{}) { return false, nil },
		fetch: func() {}, end: func(func(s4t.LeaseID) bool) {}, moment: kernelMoment(), log: log, wake: make(chan struct{}, 1), came: make(chan struct{}),
	}
}

// kernelMoment reads the kernel's clock since the boot, which counts sleep and which nobody sets.
// Where the kernel does not say which boot it is, a start of this program is one.
func kernelMoment() func() lease.Moment {
	boot := bootID()
	return func() lease.Moment {
		var ts unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
			return lease.Moment{} // nobody knows the time
		}
		return lease.Moment{Boot: boot, Since: time.Duration(ts.Nano())}
	}
}

// take takes a book from the cloud, if it is signed by the key that came with it, or else the one that
// is known, and not older than the one that is there.
func (l *leases) take(text string, key ed25519.PublicKey) {
	if text == "" { // of an older cloud
		return
	}
	if len(key) != ed25519.PublicKeySize {
		key = l.key()
	}
	m := l.moment()
	b, err := wire.VerifyBook(key, l.board, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = l.asked
	close(l.came)
	l.came = make(chan struct{})
	if err == nil {
		err = l.put(b, text, m)
	}
	if l.problem = ""; err != nil {
		l.problem = err.Error()
		l.log.Warn("the board goes on with what it knew of who holds it", "err", err)
		return
	}
	notify(l.wake)
}

// asking notes that the cloud is asked now.
func (l *leases) asking() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
}

// put takes a book whose signature is good, heard at a moment. mu is held.
func (l *leases) put(b wire.Book, text string, m lease.Moment) error {
	next, signed, old := bookTree(b), time.UnixMicro(b.Time).UTC(), l.book.Load()
	book := &lease.Book{Number: b.Number, Tree: next, Told: lease.Told{Time: signed, At: m}}
	switch {
	case old == nil:
	case b.Number < old.Number, b.Number == old.Number && signed.Before(l.signed):
		return s4t.Errorf(s4t.Stale, "take who holds the board", "", "the book %d is older than the %d that is here", b.Number, old.Number)
	case b.Number == old.Number:
		book.Told = old.Told.Later(book.Told)
	}
	l.book.Store(book)
	l.signed = signed
	if old != nil && old.Number == b.Number && l.kept { // it differs by the time only: flash is spared
		return nil
	}
	if len(next) == 1 && !l.kept { // nobody ever had it by a lease
		return nil
	}
	if err := l.dir.saveBook(savedBook{Book: text, Boot: m.Boot, Since: m.Since}); err != nil {
		if !readOnlyError(err) { // told by itself
			l.log.Warn("who holds the board is not kept; after a restart it waits for the cloud", "err", err)
		}
		return nil
	}
	l.kept = true
	return nil
}

// bookTree is who holds the board, as a book says. Actions that this lightning-rod does not know are not
// allowed by it.
func bookTree(b wire.Book) lease.Tree {
	tree := lease.Tree{{Project: b.Owner}}
	for _, e := range b.Held {
		h := lease.Holding{
			Lease: e.Lease, Parent: e.Parent, Name: s4t.Line(e.Name, s4t.MaxName), Project: e.Project,
			Window: lease.Window{From: time.UnixMicro(e.From).UTC(), Until: time.UnixMicro(e.Until).UTC()},
		}
		for _, a := range lease.Actions() {
			if slices.Contains(e.Allow, string(a)) {
				h.Allow = append(h.Allow, a)
			}
		}
		if h.Lease != "" {
			tree = append(tree, h)
		}
	}
	return tree
}

// restore takes the book that an earlier run kept.
func (l *leases) restore() {
	s, found, err := l.dir.savedBook()
	if !found {
		return
	}
	var b wire.Book
	if err == nil {
		b, err = wire.VerifyBook(l.key(), l.board, s.Book)
	}
	if err != nil {
		l.log.Warn("who holds the board is asked for again where the cloud can be reached", "err", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signed, l.kept = time.UnixMicro(b.Time).UTC(), true
	l.book.Store(&lease.Book{Number: b.Number, Tree: bookTree(b), Told: lease.Told{Time: l.signed, At: lease.Moment{Boot: s.Boot, Since: s.Since}}})
	notify(l.wake)
}

// known is the book; where none has come yet, the one of a board that is not lent.
func (l *leases) known() *lease.Book {
	if b := l.book.Load(); b != nil {
		return b
	}
	return &lease.Book{Tree: lease.Tree{{Project: l.owner()}}}
}

// decide says by which lease a project may do something now; none where it owns the board.
func (l *leases) decide(op string, project s4t.ProjectID, id s4t.LeaseID, a lease.Action) (s4t.LeaseID, error) {
	b := l.known()
	if b.Number == 0 && id == "" && b.Tree[0].Project == "" { // of an older cloud, or before its first word
		return "", nil
	}
	h, err := b.May(op, project, id, a, l.moment())
	return h.Lease, err
}

// may is decide for what the cloud asks for: before it is refused the board asks for a newer book, and
// waits a moment for it.
func (l *leases) may(ctx context.Context, op string, project s4t.ProjectID, id s4t.LeaseID, a lease.Action) (s4t.LeaseID, error) {
	by, err := l.decide(op, project, id, a)
	if err == nil {
		return by, nil
	}
	if online, _ := l.online(); !online {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, newerWithin)
	defer cancel()
	l.mu.Lock()
	mine := l.asked + 1
	l.mu.Unlock()
	l.fetch()
	for {
		l.mu.Lock()
		told, came := l.told, l.came
		l.mu.Unlock()
		if by, err = l.decide(op, project, id, a); err == nil || told >= mine {
			return by, err
		}
		select {
		case <-came:
		case <-ctx.Done():
			return "", err
		}
	}
}

// run ends what is open by leases when they end, until ctx does.
func (l *leases) run(ctx context.Context) {
	busy := time.Time{} // look often until then
	for {
		now, known := l.known().Told.Now(l.moment())
		tree := l.known().Tree
		l.end(func(id s4t.LeaseID) bool { return !known || !tree.Lasts(id, now) })
		wait := lookUnleased
		if time.Now().Before(busy) || slices.ContainsFunc(tree, func(h lease.Holding) bool { return h.Lease != "" && tree.Lasts(h.Lease, now) }) {
			wait = lookLeased
		}
		if next := tree.Next(now); known && !next.IsZero() {
			wait = min(wait, next.Sub(now))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-l.wake:
			timer.Stop()
			busy = time.Now().Add(lookAfter)
		case <-timer.C:
			if wait < lookLeased { // it was for an edge
				busy = time.Now().Add(lookAfter)
			}
		}
	}
}

// problems lists what the board's owner should know of it.
func (l *leases) problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.problem == "" {
		return nil
	}
	return []string{"who holds the board is not known as the cloud says: " + l.problem}
}

// neededFor are the actions that a lease must allow for resources of a kind.
var neededFor = map[wire.Kind]lease.Action{wire.KindPort: lease.Bridge, wire.KindService: lease.Service, wire.KindPlugin: lease.Plugins}

// admitted is what is to be applied of what is wanted: of what is there by a lease only what that
// allows now. Plugins stay, and do not run. held are the states of what is not applied.
func (l *leases) admitted(want []wire.Resource, held []wire.ResourceState) ([]wire.Resource, []wire.ResourceState) {
	refused := l.refused(want)
	l.mu.Lock()
	l.without = map[wire.ResourceKey]bool{}
	for k := range refused {
		l.without[k] = true
	}
	l.mu.Unlock()
	if len(refused) == 0 {
		return want, held
	}
	var admitted []wire.Resource
	held = slices.Clone(held)
	for _, r := range want {
		err, is := refused[r.Key()]
		if is && r.Kind == wire.KindPlugin {
			r, is = stopped(r)
		}
		if err != nil {
			held = append(held, refuse(r, "", s4t.Line(err.Error(), wire.MaxProblem)))
		}
		if !is {
			admitted = append(admitted, r)
		}
	}
	return admitted, held
}

// turned reports whether others of the wanted resources are allowed now than when they were applied.
func (l *leases) turned(want []wire.Resource) bool {
	refused := l.refused(want)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range refused {
		if !l.without[k] {
			return true
		}
	}
	for k := range l.without {
		if _, still := refused[k]; !still && slices.ContainsFunc(want, func(r wire.Resource) bool { return r.Key() == k }) {
			return true
		}
	}
	return false
}

// refused are the resources that are there by leases which do not allow them now, and why.
func (l *leases) refused(want []wire.Resource) map[wire.ResourceKey]error {
	var refused map[wire.ResourceKey]error
	for _, r := range want {
		needs, lendable := neededFor[r.Kind]
		if r.Gone || !lendable || !strings.Contains(string(r.Spec), `"lease":`) {
			continue
		}
		var by wire.Leased
		if _, ok := decode(r, &by); !ok || by.Lease == "" {
			continue
		}
		if _, err := l.decide("have "+string(r.Kind)+" on the board", by.For, by.Lease, needs); err != nil {
			if refused == nil {
				refused = map[wire.ResourceKey]error{}
			}
			refused[r.Key()] = err
		}
	}
	return refused
}

// stopped is a plugin that is to stay and not to run. refused: it cannot be told so.
func stopped(r wire.Resource) (out wire.Resource, refused bool) {
	var d wire.DesiredPlugin
	if _, ok := decode(r, &d); !ok {
		return r, true
	}
	d.Running, d.OnBoot = false, false
	return wire.NewResource(r.Kind, r.ID, d), false
}
