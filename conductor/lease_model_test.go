package conductor

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestLeasesAreAsTheModel lends boards as it comes, lets time go by and conductors die, and compares
// with a model that knows the rules and nothing of how they are kept: no board is booked twice, nobody
// uses one but its owner and who has a lease that is not over, nothing that a lease made is left
// after it, a board that has another owner has nothing of the one before, and one whose link is cut
// decides by its book as was right when it was cut, and ends what ends meanwhile.
//
// Times are in minutes from now. All that is asked for ends at 3, 6 or 9 minutes after ten, a notice is
// one, and time goes by in tens: so nothing ever ends in the moment in which it is looked at.
func TestLeasesAreAsTheModel(t *testing.T) {
	checks := "12"
	if onPostgres() {
		checks = "6"
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		f.Value.Set(checks)
		defer f.Value.Set(f.DefValue)
	}
	l := newLab(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := newLeaseModel(t, rt, l, round)
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"lease":   m.lease,
			"share":   m.share,
			"extend":  m.extend,
			"release": m.release,
			"give":    m.give,
			"cut":     m.cut,
			"offer":   m.offer,
			"expose":  m.expose,
			"time":    m.time,
			"die":     m.die,
		})
		m.clear()
	})
}

// modelLease is a lease as the model has it; times are minutes since the model began.
type modelLease struct {
	id          s4t.LeaseID
	project     int // whose
	parent      *modelLease
	boards      []int
	from, until int
	allow       lease.Set
	priority    int
	offer       int          // which of the first project's
	shared      map[int]bool // boards on which others may stand beside it
	over        bool
}

// onBoard reports whether a lease has a board.
func (l *modelLease) on(board int) bool { return slices.Contains(l.boards, board) }

// leaseModel has three projects: 0 owns the boards and offers them, 1 and 2 borrow them and may get them.
type leaseModel struct {
	t       *testing.T
	l       *lab
	now     int // minutes since the model began
	began   time.Time
	callers []wire.Caller
	boards  []s4t.Board
	offered bool              // whether the owner's offer stands
	shared  bool              // whether it is for leases side by side
	offers  int               // which it is
	of      map[int]bool      // the boards that it has
	owner   []int             // of each board
	books   map[int]modelBook // of boards whose link is cut
	leases  []*modelLease
	prefix  string
}

func newLeaseModel(t *testing.T, rt *rapid.T, l *lab, round int) *leaseModel {
	m := &leaseModel{t: t, l: l, prefix: fmt.Sprintf("m%d-", round), owner: make([]int, 3), books: map[int]modelBook{}}
	for i, p := range []s4t.ProjectID{projectID, otherID, thirdProject(t, l)} {
		m.callers = append(m.callers, vouched(l.key, wire.Caller{User: fmt.Sprint("user", i), Project: p, Role: s4t.RoleManager}))
	}
	for i := range 3 {
		m.boards = append(m.boards, call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: m.callers[0], Name: fmt.Sprint(m.prefix, i)}))
	}
	m.began = time.Now()
	return m
}

// thirdProject is a project beside those of the lab.
func thirdProject(t *testing.T, l *lab) s4t.ProjectID {
	const id = s4t.ProjectID("33333333-3333-4333-8333-333333333333")
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Project(string(id)); s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		return tx.InsertProject(s4t.Project{ID: id, Name: "third", Weight: 1, CreatedAt: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// at is a minute of the model as a time; what is in the database moves, not the clock.
func (m *leaseModel) at(minute int) time.Time {
	return time.Now().Add(time.Duration(minute-m.now) * time.Minute)
}

// minute is a time as a minute of the model.
func (m *leaseModel) minute(at time.Time) int {
	return m.now + int(math.Round(time.Until(at).Minutes()))
}

func (m *leaseModel) draw(rt *rapid.T, what string, of ...*modelLease) *modelLease {
	if len(of) == 0 {
		rt.Skip("nothing to " + what)
	}
	return of[rapid.IntRange(0, len(of)-1).Draw(rt, what)]
}

// current are the leases that are not over.
func (m *leaseModel) current() (some []*modelLease) {
	for _, l := range m.leases {
		if !l.over {
			some = append(some, l)
		}
	}
	return some
}

// offer makes the owner's offer of all boards to everybody, or takes it back.
func (m *leaseModel) offer(rt *rapid.T) {
	if m.offered {
		call[wire.Empty](m.l, wire.MethodOfferDelete, wire.RefRequest{Caller: m.callers[0], Ref: m.prefix + "offer"})
		m.offered = false
		return
	}
	m.shared = rapid.Bool().Draw(rt, "side by side")
	req := wire.OfferCreate{Caller: m.callers[0], Name: m.prefix + "offer", Allow: []string{"ssh", "service", "pins"}, MaxPriority: 2, Shared: m.shared}
	m.of = map[int]bool{}
	for i, b := range m.boards {
		if m.owner[i] == 0 {
			m.of[i] = true
			req.Boards = append(req.Boards, string(b.ID))
		}
	}
	if len(req.Boards) == 0 {
		rt.Skip("nothing to offer")
	}
	call[s4t.Offer](m.l, wire.MethodOfferCreate, req)
	m.offered = true
	m.offers++
}

// lease books boards by name.
func (m *leaseModel) lease(rt *rapid.T) {
	want := &modelLease{
		project: rapid.IntRange(0, 2).Draw(rt, "project"), boards: rapid.SliceOfNDistinct(rapid.IntRange(0, 2), 1, 3, rapid.ID[int]).Draw(rt, "boards"),
		from: m.now, priority: rapid.IntRange(0, 2).Draw(rt, "priority"),
	}
	req := wire.LeaseCreate{Caller: m.callers[want.project], Priority: want.priority}
	if later := rapid.IntRange(0, 3).Draw(rt, "later"); later > 0 {
		want.from += 10*later - 4
		at := m.at(want.from)
		req.From = &at
	}
	minutes := 10*rapid.IntRange(1, 4).Draw(rt, "for") + 3
	want.until, req.For = want.from+minutes, s4t.Seconds(minutes*60)
	for _, b := range want.boards {
		req.Boards = append(req.Boards, string(m.boards[b].ID))
	}
	kind := s4t.Kind("")
	want.allow, want.shared, want.offer = lease.All(), map[int]bool{}, m.offers
	for _, b := range want.boards {
		if m.owner[b] == want.project {
			continue
		}
		if !m.offered || m.owner[b] != 0 || !m.of[b] {
			kind = s4t.NotFound
		}
		want.allow = lease.Set{lease.SSH, lease.Service, lease.Pins}
		want.shared[b] = m.shared
	}
	yields := map[*modelLease]bool{}
	for _, l := range m.current() {
		if kind == s4t.NotFound || l.parent != nil || l.until <= want.from || want.until <= l.from {
			continue
		}
		for _, b := range want.boards {
			if !l.on(b) || l.shared[b] && want.shared[b] {
				continue
			}
			if l.priority >= want.priority {
				kind = s4t.Conflict
			}
			yields[l] = true
		}
	}
	got, err := try[s4t.Lease](m.l, wire.MethodLeaseCreate, req)
	if s4t.KindOf(err) != kind && !(kind == "" && err == nil) {
		m.fail(rt, "%+v: %v, want %q", want, err, kind)
	}
	if err != nil {
		return
	}
	for l := range yields {
		switch {
		case l.from > m.now: // it does not begin
			m.end(l)
		case m.now+1 > want.from:
			l.until = min(l.until, m.now+1)
			want.from = max(want.from, l.until)
		default:
			l.until = want.from
		}
		m.shorten(l)
	}
	want.id = got.ID
	m.leases = append(m.leases, want)
}

// shorten lets shares end with what they are of.
func (m *leaseModel) shorten(above *modelLease) {
	for _, l := range m.current() {
		if l.parent != above {
			continue
		}
		if l.until > above.until {
			l.until = above.until
		}
		if above.over || l.from >= l.until {
			m.end(l)
		}
		m.shorten(l)
	}
}

// end ends a lease and what is below.
func (m *leaseModel) end(l *modelLease) {
	l.over = true
	m.shorten(l)
}

// share passes on a part of a lease.
func (m *leaseModel) share(rt *rapid.T) {
	above := m.draw(rt, "share", m.current()...)
	to := rapid.IntRange(0, 2).Draw(rt, "to")
	if to == above.project {
		rt.Skip("its own")
	}
	s := &modelLease{project: to, parent: above, boards: above.boards[:rapid.IntRange(1, len(above.boards)).Draw(rt, "boards")], from: above.from, until: above.until, allow: above.allow, priority: above.priority}
	req := wire.LeaseShare{Caller: m.callers[above.project], Ref: string(above.id), To: string(m.callers[to].Project)}
	for _, b := range s.boards {
		req.Boards = append(req.Boards, string(m.boards[b].ID))
	}
	if rapid.Bool().Draw(rt, "less") {
		s.allow = above.allow[:1]
		req.Allow = s.allow.Words()
	}
	got := call[s4t.Lease](m.l, wire.MethodLeaseShare, req)
	s.id = got.ID
	m.leases = append(m.leases, s)
}

// extend moves an end.
func (m *leaseModel) extend(rt *rapid.T) {
	l := m.draw(rt, "extend", m.current()...)
	until := l.until + 10
	kind := s4t.Kind("")
	switch {
	case l.parent != nil:
		if until > l.parent.until {
			kind = s4t.Forbidden
		}
	default:
		for _, b := range l.boards {
			if m.owner[b] != l.project && (!m.offered || l.offer != m.offers) {
				kind = s4t.Forbidden
			}
		}
		for _, o := range m.current() {
			if kind == "" && o != l && o.parent == nil && o.from < until && l.until < o.until && slices.ContainsFunc(l.boards, func(b int) bool { return o.on(b) && !(o.shared[b] && l.shared[b]) }) {
				kind = s4t.Conflict
			}
		}
	}
	_, err := try[s4t.Lease](m.l, wire.MethodLeaseExtend, wire.LeaseExtend{Caller: m.callers[l.project], Ref: string(l.id), For: 600})
	if s4t.KindOf(err) != kind && !(kind == "" && err == nil) {
		m.fail(rt, "extend %+v: %v, want %q", l, err, kind)
	}
	if err == nil {
		l.until = until
	}
}

// release gives a lease back, or has its owner take it.
func (m *leaseModel) release(rt *rapid.T) {
	l := m.draw(rt, "release", m.current()...)
	by := l.project
	if rapid.Bool().Draw(rt, "taken back") {
		by = m.owner[l.boards[0]]
	}
	call[s4t.Lease](m.l, wire.MethodLeaseRelease, wire.RefRequest{Caller: m.callers[by], Ref: string(l.id)})
	m.end(l)
}

// expose makes something by a lease.
func (m *leaseModel) expose(rt *rapid.T) {
	l := m.draw(rt, "expose", m.current()...)
	b := l.boards[0]
	_, err := try[s4t.Operation](m.l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: m.callers[l.project], Board: string(m.boards[b].ID), Service: fmt.Sprint(8000 + rapid.IntRange(0, 1).Draw(rt, "port"))})
	if may := m.may(l.project, b, lease.Service); err == nil != may && !(may && s4t.KindOf(err) == s4t.Conflict) {
		m.fail(rt, "project %d exposes a service of board %d: %v, it may: %v", l.project, b, err, may)
	}
}

// give gives a board to another project.
func (m *leaseModel) give(rt *rapid.T) {
	b, to := rapid.IntRange(0, 2).Draw(rt, "board"), rapid.IntRange(0, 2).Draw(rt, "to")
	if m.owner[b] == to {
		rt.Skip("its own")
	}
	code := call[s4t.Transfer](m.l, wire.MethodBoardTransfer, wire.BoardTransfer{Caller: m.callers[m.owner[b]], Ref: string(m.boards[b].ID), To: string(m.callers[to].Project)}).Code
	if other := 3 - m.owner[b] - to; rapid.Bool().Draw(rt, "to somebody else") {
		if _, err := try[s4t.Board](m.l, wire.MethodBoardClaim, wire.BoardClaim{Caller: m.callers[other], Code: code}); s4t.KindOf(err) != s4t.NotFound {
			m.fail(rt, "project %d claims what was given to %d: %v", other, to, err)
		}
	}
	call[s4t.Board](m.l, wire.MethodBoardClaim, wire.BoardClaim{Caller: m.callers[to], Code: code})
	m.owner[b] = to
	delete(m.of, b)
	for _, l := range m.current() {
		if l.on(b) && l.parent == nil {
			m.end(l)
		}
	}
}

// modelBook is what a board whose link was cut has: its book, the model's minute then, and the boards'
// world as it was.
type modelBook struct {
	book  wire.Book
	at    int
	owner int
	held  []modelLease
}

// cut cuts the link of a board, or heals it.
func (m *leaseModel) cut(rt *rapid.T) {
	b := rapid.IntRange(0, 2).Draw(rt, "board")
	if _, is := m.books[b]; is {
		delete(m.books, b)
		return
	}
	k := modelBook{at: m.now, owner: m.owner[b]}
	for _, l := range m.current() {
		if l.on(b) {
			k.held = append(k.held, *l)
		}
	}
	if err := m.l.db.View(m.t.Context(), func(tx *store.Tx) error {
		board, err := tx.Board(m.boards[b].ID)
		if err != nil {
			return err
		}
		tree, err := tx.Holdings(board.ID)
		if err != nil {
			return err
		}
		k.book, err = wire.VerifyBook(m.l.key.Public().(ed25519.PublicKey), board.ID, m.l.c.bookOf(board, tree, tx.Now()))
		return err
	}); err != nil {
		m.fail(rt, "the book of board %d: %v", b, err)
	}
	m.books[b] = k
}

// checkBooks asks boards that are cut off what they allow.
func (m *leaseModel) checkBooks(rt *rapid.T) {
	for b, k := range m.books {
		tree := lease.Tree{{Project: k.book.Owner}}
		for _, h := range k.book.Held {
			set, err := lease.ParseSet(strings.Join(h.Allow, ","))
			if err != nil {
				m.fail(rt, "%v", err)
			}
			tree = append(tree, lease.Holding{Lease: h.Lease, Parent: h.Parent, Project: h.Project, Window: lease.Window{From: time.UnixMicro(h.From), Until: time.UnixMicro(h.Until)}, Allow: set})
		}
		now := time.UnixMicro(k.book.Time).Add(time.Duration(m.now-k.at) * time.Minute) // by a clock that nobody sets
		for p, caller := range m.callers {
			for _, a := range lease.Actions() {
				_, allows := tree.May(caller.Project, a, now)
				right := p == k.owner || slices.ContainsFunc(k.held, func(l modelLease) bool {
					return l.project == p && l.allow.Has(a) && l.from <= m.now && m.now < l.until
				})
				if allows != right {
					m.fail(rt, "board %d, cut off since minute %d, lets project %d %s: %v", b, k.at, p, a, allows)
				}
			}
		}
	}
}

// time lets time go by, and leases begin and end.
func (m *leaseModel) time(rt *rapid.T) {
	m.pass(10 * rapid.IntRange(1, 3).Draw(rt, "tens"))
	if err := m.due(); err != nil {
		m.fail(rt, "begin and end leases: %v", err)
	}
}

// due begins and ends leases, as the upkeep does.
func (m *leaseModel) due() error {
	c := m.l.c
	c.upkept.mu.Lock()
	defer c.upkept.mu.Unlock()
	return c.leasesDue(m.t.Context())
}

func (m *leaseModel) pass(minutes int) {
	by := (time.Duration(minutes) * time.Minute).Microseconds()
	execBeside(m.t, m.l, fmt.Sprintf(`UPDATE board_leases SET starts_at = starts_at - %d, ends_at = ends_at - %d, next_free = CASE WHEN next_free = 0 THEN 0 ELSE next_free - %d END WHERE status IN ('pending', 'active')`, by, by, by))
	execBeside(m.t, m.l, fmt.Sprintf(`UPDATE lease_boards SET starts_at = starts_at - %d, ends_at = ends_at - %d WHERE lease IN (SELECT id FROM board_leases WHERE status IN ('pending', 'active'))`, by, by))
	m.now += minutes
	for _, l := range m.current() {
		if l.until <= m.now {
			m.end(l)
		}
	}
}

// die ends the conductor, and starts another.
func (m *leaseModel) die(rt *rapid.T) {
	if rapid.IntRange(0, 2).Draw(rt, "lives") > 0 {
		return
	}
	m.l.stop()
	m.l.start()
}

// may is the model's answer.
func (m *leaseModel) may(project, board int, a lease.Action) bool {
	return project == m.owner[board] || slices.ContainsFunc(m.leases, func(l *modelLease) bool {
		return !l.over && l.project == project && l.on(board) && l.allow.Has(a) && l.from <= m.now && m.now < l.until
	})
}

// check compares all that can be seen.
func (m *leaseModel) check(rt *rapid.T) {
	err := m.l.db.View(m.t.Context(), func(tx *store.Tx) error {
		for p, caller := range m.callers {
			for b, board := range m.boards {
				for u, a := range map[use]lease.Action{streamSSH: lease.SSH, wire.MethodPinAsk: lease.Pins, wire.MethodBridgeCreate: lease.Bridge} {
					_, _, err := findBoard(tx, caller, "use it", u, string(board.ID))
					if may := m.may(p, b, a); may != (err == nil) {
						m.fail(rt, "project %d, board %d, %s: %v, it may: %v", p, b, a, err, may)
					}
				}
			}
		}
		for _, l := range m.leases {
			got, err := tx.LeaseByID(l.id)
			if err != nil {
				return err
			}
			if got.Status.Over() != l.over {
				m.fail(rt, "lease %+v is %s: %s", *l, got.Status, got.Reason)
			}
			if from, until := m.minute(got.From), m.minute(got.Until); !l.over && (from != l.from || until != l.until) {
				m.fail(rt, "lease %+v is from %d until %d", *l, from, until)
			}
		}
		calendars, err := tx.Calendars(m.ids(), time.Now())
		for b, c := range calendars {
			for _, e := range c {
				if twice := c.Conflicts(e); len(twice) > 0 {
					m.fail(rt, "board %s is booked twice: %+v and %+v", b, e, twice)
				}
			}
		}
		return err
	})
	if err != nil {
		m.fail(rt, "%v", err)
	}
	m.checkBooks(rt)
	for _, b := range m.ids() {
		if err := m.l.db.View(m.t.Context(), func(tx *store.Tx) error {
			services, err := tx.ServicesOfBoard(b)
			for _, s := range services {
				if i := slices.IndexFunc(m.leases, func(l *modelLease) bool { return l.id == s.Lease }); s.Lease != "" && (i < 0 || m.leases[i].over) {
					m.fail(rt, "service %s of board %s is there after its lease", s.Name, b)
				}
			}
			return err
		}); err != nil {
			m.fail(rt, "%v", err)
		}
	}
}

func (m *leaseModel) ids() (ids []s4t.BoardID) {
	for _, b := range m.boards {
		ids = append(ids, b.ID)
	}
	return ids
}

// clear ends all, so that the next round begins with nothing.
func (m *leaseModel) clear() {
	m.pass(1000)
	if err := m.due(); err != nil {
		m.t.Fatal(err)
	}
	for i, b := range m.boards {
		call[s4t.Operation](m.l, wire.MethodBoardDelete, wire.RefRequest{Caller: m.callers[m.owner[i]], Ref: string(b.ID)})
	}
	if m.offered {
		call[wire.Empty](m.l, wire.MethodOfferDelete, wire.RefRequest{Caller: m.callers[0], Ref: m.prefix + "offer"})
	}
}

func (m *leaseModel) fail(rt *rapid.T, format string, args ...any) {
	var all []string
	for _, l := range m.leases {
		all = append(all, fmt.Sprintf("%+v", *l))
	}
	rt.Fatalf("minute %d, offered %v: "+format+"\n%s", append(append([]any{m.now, m.offered}, args...), strings.Join(all, "\n"))...)
}

// execBeside changes the lab's database beside the conductor.
func execBeside(t *testing.T, l *lab, query string) {
	t.Helper()
	if l.postgres {
		conn, err := pgx.Connect(t.Context(), l.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return
	}
	db, err := sql.Open("sqlite", l.path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
