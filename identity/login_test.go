package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// from logs in from a source.
func (w *world) from(t *testing.T, source, user, password string) error {
	t.Helper()
	_, err := w.Login(t.Context(), wire.LoginRequest{User: user, Password: password, Source: source})
	return err
}

const (
	home      = "192.0.2.1"
	elsewhere = "198.51.100.7"
	evil      = "203.0.113.66"
)

func TestAnAttemptIsTakenBeforeThePasswordIsChecked(t *testing.T) {
	w := newWorld(t)
	for _, source := range []string{"", evil} { // as the API says it, and as one that does not
		kinds := map[s4t.Kind]int{}
		for _, err := range atOnce(60, func(int) error { return w.from(t, source, "mary", "a wrong password") }) {
			kinds[s4t.KindOf(err)]++
		}
		if kinds[s4t.Unauthenticated] > wrongAtOnce || kinds[s4t.Unauthenticated]+kinds[s4t.TooMany] != 60 {
			t.Errorf("from %q: %v, want at most %d that were looked at", source, kinds, wrongAtOnce)
		}
	}
}

func TestANameAndAnIDAreOneBudget(t *testing.T) {
	w := newWorld(t)
	for n := range wrongAtOnce {
		ref := "mary"
		if n%2 == 0 {
			ref = string(w.member.UserID)
		}
		wantKind(t, ref, w.from(t, evil, ref, "a wrong password"), s4t.Unauthenticated)
	}
	for _, ref := range []string{"mary", string(w.member.UserID)} {
		wantKind(t, ref+", one too many", w.from(t, evil, ref, "a wrong password"), s4t.TooMany)
	}
}

func TestASourceThatFailsWaitsAndTheUserDoesNot(t *testing.T) {
	w := newWorld(t)
	wantKind(t, "from home", w.from(t, home, "mary", "mary-password"), "")
	for range 1000 { // two connections, as long as they like
		w.from(t, evil, "mary", "a wrong password")
	}
	err := w.from(t, evil, "mary", "mary-password")
	wantKind(t, "the right one from the source that failed", err, s4t.TooMany)
	if e, ok := errors.AsType[*s4t.Error](err); !ok || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
		t.Errorf("it is not said when to come back: %+v", e)
	}
	wantKind(t, "from home", w.from(t, home, "mary", "mary-password"), "")
	wantKind(t, "from elsewhere", w.from(t, elsewhere, "mary", "mary-password"), "")

	// Many sources together can keep a user out from where nobody knows the
	// user, and from nowhere else.
	for n := range 3 * guessedAtOnce {
		w.from(t, fmt.Sprintf("2001:db8:0:%x::", n), "mary", "a wrong password")
	}
	wantKind(t, "from a new place", w.from(t, "192.0.2.99", "mary", "mary-password"), s4t.TooMany)
	wantKind(t, "from home", w.from(t, home, "mary", "mary-password"), "")
	wantKind(t, "another user from a new place", w.from(t, "192.0.2.99", "rick", "rick-password"), "")
	w.now = w.now.Add(guessedEvery)
	wantKind(t, "from a new place, later", w.from(t, "192.0.2.99", "mary", "mary-password"), "")
}

func TestARightPasswordCostsNoAttempt(t *testing.T) {
	w := newWorld(t)
	for n := range 2 * guessedAtOnce {
		if err := w.from(t, fmt.Sprintf("192.0.2.%d", n%3), "mary", "mary-password"); err != nil {
			t.Fatal(n, err)
		}
	}
	for range 2 * strangeAtOnce { // a project that is not there is no wrong password
		_, err := w.Login(t.Context(), wire.LoginRequest{User: "rick", Password: "rick-password", Project: "none", Source: elsewhere})
		wantKind(t, "to no project", err, s4t.NotFound)
	}
}

func TestStrangersWithRandomNamesLeaveOthersTheirLogins(t *testing.T) {
	w := newWorld(t)
	wantKind(t, "from home", w.from(t, home, "mary", "mary-password"), "")
	w.password = newHasher(4096) // long enough for a crowd
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		atOnce(100, func(n int) error {
			for round := 0; ctx.Err() == nil; round++ {
				w.Login(ctx, wire.LoginRequest{User: fmt.Sprintf("x%d-%d", n, round), Password: "a wrong password", Source: fmt.Sprintf("2001:db8:%x:%x::", n, round)})
			}
			return nil
		})
	}()
	for range 10 {
		wantKind(t, "from home", w.from(t, home, "mary", "mary-password"), "")
	}
	cancel()
	<-ended
}

func TestTurns(t *testing.T) {
	turns := newTurns()
	var places []func()
	for range maxHashing {
		done, err := turns.wait(t.Context(), "test", asker{source: evil})
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, done)
	}
	ctx, cancel := context.WithCancel(t.Context())
	type got struct {
		who  string
		done func()
		err  error
	}
	come := make(chan got)
	line := func(who string, by asker, ctx context.Context) {
		t.Helper()
		before := turns.length()
		go func() {
			done, err := turns.wait(ctx, "test", by)
			come <- got{who, done, err}
		}()
		for turns.length() == before { // it tells nobody that it waits
			time.Sleep(time.Millisecond)
		}
	}
	for range maxStrangersOfOne {
		line("evil", asker{source: evil}, t.Context())
	}
	if _, err := turns.wait(t.Context(), "test", asker{source: evil}); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("more than the share of a source: %v", err)
	}
	line("stranger", asker{source: elsewhere}, t.Context())
	line("gone", asker{home, true}, ctx)
	cancel()
	if g := <-come; g.who != "gone" || s4t.KindOf(g.err) != s4t.Timeout {
		t.Errorf("who does not wait any more: %+v", g)
	}
	line("mary", asker{home, true}, t.Context())
	line("rick", asker{home, true}, t.Context())
	places[1]() // stays free for nobody: it goes on to the first
	var order []string
	done := func() { places[0]() }
	first := <-come
	order, places = append(order, first.who), append(places, first.done)
	for range maxStrangersOfOne + 2 {
		done()
		g := <-come
		order, done = append(order, g.who), g.done
	}
	if at := slices.Index(order, "mary"); at < 0 || at > 2 {
		t.Errorf("one who is known waited for strangers: %v", order)
	}
	if at := slices.Index(order, "rick"); at < 0 || at > 4 {
		t.Errorf("the second one waited for strangers: %v", order)
	}
	if order[len(order)-1] != "stranger" {
		t.Errorf("not in the order they came: %v", order)
	}
	done()
	places[2]()
	if turns.free != maxHashing || turns.length() != 0 {
		t.Errorf("%d places of %d are free, %d wait", turns.free, maxHashing, turns.length())
	}
}

// length is how many wait.
func (t *turns) length() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting[0]) + len(t.waiting[1])
}

func TestALoginMayLastAsLongAsItIsAsked(t *testing.T) {
	w := newWorld(t)
	token, err := w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "mary-password", Expires: 1000 * time.Hour})
	if err != nil || !token.ExpiresAt.Equal(w.now.Add(1000*time.Hour)) || token.Parent != "" {
		t.Errorf("%+v, %v", token, err)
	}
	for _, never := range []time.Duration{-time.Second, 101 * 365 * 24 * time.Hour} {
		_, err := w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "mary-password", Expires: never})
		wantKind(t, never.String(), err, s4t.Invalid)
	}
}

func TestARefusalIsRecordedHoweverMuchOthersAreRefused(t *testing.T) {
	w := newWorld(t)
	for range 200 {
		w.CreateProject(t.Context(), wire.ProjectCreate{Caller: w.stranger, Name: "mine"})
		w.CreateProject(t.Context(), wire.ProjectCreate{Caller: w.member, Name: "mine"})
		w.from(t, evil, "sam", "a wrong password")
		w.now = w.now.Add(time.Millisecond)
	}
	w.CreateProject(t.Context(), wire.ProjectCreate{Caller: w.reader, Name: "mine"})
	w.from(t, elsewhere, "mary", "a wrong password")
	lines := w.audit(t)
	for _, want := range []string{"rick project.create mine forbidden", " login mary unauthenticated"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit lacks %q", want)
		}
	}
	n := 0
	for _, l := range lines {
		if strings.HasPrefix(l, "sam project.create") {
			n++
		}
	}
	if n < 50 || n > 61 {
		t.Errorf("%d refusals of one user were kept", n)
	}
}

func TestTheAuditIsTrimmedWhereThereIsTheMost(t *testing.T) {
	w := newWorld(t)
	write := func(n int, r s4t.AuditRecord) {
		t.Helper()
		if err := w.db.Tx(t.Context(), func(tx *store.Tx) error {
			for range n {
				if err := tx.InsertAudit(r); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(30, s4t.AuditRecord{At: w.now, Project: "quiet", Action: "board.create", Outcome: "ok"})
	write(400, s4t.AuditRecord{At: w.now.Add(time.Hour), Project: "noisy", Action: "board.create", Outcome: "ok"})
	write(300, s4t.AuditRecord{At: w.now.Add(time.Hour), Project: "quiet", Action: "login", Outcome: "unauthenticated"})
	count := func() (shares map[store.AuditShare]int, all int) {
		t.Helper()
		shares = map[store.AuditShare]int{}
		if err := w.db.View(t.Context(), func(tx *store.Tx) error {
			l, err := tx.AuditShares()
			for _, s := range l {
				shares[store.AuditShare{Project: s.Project, Refused: s.Refused}], all = s.Records, all+s.Records
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return shares, all
	}
	before, all := count()
	if err := w.trimAudit(t.Context(), all-500); err != nil {
		t.Fatal(err)
	}
	after, left := count()
	for s, n := range before {
		switch want := after[s]; {
		case s.Project == "noisy" && !s.Refused, s.Project == "quiet" && s.Refused:
			if want < 90 || want > 110 {
				t.Errorf("%v: %d of %d are left", s, want, n)
			}
		case want != n:
			t.Errorf("%v: %d of %d are left, and it had less than others", s, want, n)
		}
	}
	if left > all-500 || left < all-502 {
		t.Errorf("of %d there are %d", all, left)
	}
	if err := w.trimAudit(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if _, n := count(); n != left {
		t.Errorf("nothing was to be trimmed, and %d of %d are left", n, left)
	}
}
