package identity

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Login exchanges a password for a token of the user's role in a project: the
// user's own, or any that exists for an admin. An unknown user and a wrong
// password are one answer, after the same time.
func (i *Identity) Login(ctx context.Context, req wire.LoginRequest) (s4t.Token, error) {
	if err := validLifetime(loginOp(req), req.Expires); err != nil {
		return s4t.Token{}, err
	}
	l, err := i.prove(ctx, req)
	if err != nil {
		return s4t.Token{}, err
	}
	expires := l.rec.At.Add(cmp.Or(req.Expires, i.cfg.LoginLifetime))
	token := newToken(l.user.Name, l.project.ID, l.user.Role, &expires, l.rec.At)
	return token, i.keepLogin(ctx, l, store.TokenRow{Token: token})
}

func loginOp(req wire.LoginRequest) string { return fmt.Sprintf("log in as %q", clip(req.User)) }

// login is somebody who gave the right password.
type login struct {
	user    s4t.User
	project s4t.Project
	source  string
	rec     s4t.AuditRecord // of it
}

// keepLogin keeps the token of a login, and the newest of the others.
func (i *Identity) keepLogin(ctx context.Context, l login, t store.TokenRow) error {
	t.UserID, t.Login, t.Source = l.user.ID, true, l.source
	l.rec.Object = string(t.ID)
	return i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertToken(t, store.HashSecret(t.Secret)); err != nil {
			return err
		}
		if err := tx.TrimLogins(l.user.ID, l.project.ID, t.ID, maxLogins-1); err != nil {
			return err
		}
		return tx.InsertAudit(l.rec)
	})
}

// prove checks a password, and that the user may be in the project.
func (i *Identity) prove(ctx context.Context, req wire.LoginRequest) (login, error) {
	op := loginOp(req)
	now := i.cfg.Now()
	var user s4t.User
	var project s4t.Project
	var hash string
	var known bool
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		user, hash, project, known = s4t.User{}, "", s4t.Project{}, false
		if clip(req.User) != req.User {
			return nil // nobody is called that
		}
		if user, err = tx.User(req.User); err == nil {
			hash, err = tx.UserPassword(user.ID)
		}
		if s4t.KindOf(err) == s4t.NotFound {
			return nil
		}
		if err == nil && req.Source != "" {
			known, err = tx.LoggedInFrom(user.ID, req.Source)
		}
		if err == nil && clip(req.Project) == req.Project {
			project, err = tx.Project(orDefault(req.Project, string(user.Project)))
		}
		if s4t.KindOf(err) == s4t.NotFound {
			return nil // told only after the password was right
		}
		return err
	})
	if err != nil {
		return login{}, err
	}
	who := orDefault(string(user.ID), clip(req.User))
	attempt, err := i.attempts.take(op, who, req.Source, known, now)
	if err != nil {
		return login{}, err
	}
	ok, err := i.password.check(ctx, op, asker{req.Source, known}, hash, req.Password)
	if err != nil {
		attempt.back(now) // nothing was tried
		return login{}, err
	}
	rec := s4t.AuditRecord{At: now, User: clip(req.User), Project: user.Project, Action: "login", Outcome: "ok"}
	if req.Source != "" {
		rec.Detail = "from " + req.Source
	}
	if !ok {
		rec.User, rec.Name = "", clip(req.User)
		i.recordRefusal(ctx, rec, s4t.Unauthenticated, "from "+req.Source, "to "+string(user.Project))
		return login{}, s4t.Errorf(s4t.Unauthenticated, op, "check both and try again", "the user or the password is wrong")
	}
	attempt.back(now)
	if project.ID == "" || user.Role != s4t.RoleAdmin && project.ID != user.Project {
		return login{}, s4t.Errorf(s4t.NotFound, op, "leave the project out to use your own", "project %q does not exist", clip(req.Project))
	}
	i.attempts.right(who, req.Source)
	rec.User, rec.Project = user.Name, project.ID
	return login{user, project, req.Source, rec}, nil
}

// maxLogins is how many tokens logins of one user to one project may have
// given; one more ends that of the others which would end first.
const maxLogins = 500

// validLifetime checks how long a token is to be valid.
func validLifetime(op string, d time.Duration) error {
	if d < 0 || d > 100*365*24*time.Hour {
		return s4t.Errorf(s4t.Invalid, op, "give a time from now, like 24h", "it would expire %s from now", d)
	}
	return nil
}

// Attempts are taken before a password is checked, and given back when it was
// right. A stranger's are counted by source before they are counted for the
// user, so that it is the source that has to wait: many have to work together
// to keep a user out, and nobody keeps out a user who comes from where an
// earlier login came from.
const (
	wrongAtOnce   = 10 // of one user from one source; a right one starts over
	wrongEvery    = 6 * time.Second
	strangeAtOnce = 20 // from one source, of all users who have not logged in from there
	strangeEvery  = time.Minute
	guessedAtOnce = 100 // of one user, from all such sources
	guessedEvery  = 6 * time.Second

	maxAttempts = 10_000 // that are remembered, of each
)

// attempts bounds how often passwords may be guessed. Users are known by what
// does not change: an id, or a name that nobody has.
type attempts struct {
	pairs, sources, users *s4t.Budgets
}

func newAttempts() *attempts {
	return &attempts{
		pairs:   s4t.NewBudgets(wrongAtOnce, wrongEvery, maxAttempts),
		sources: s4t.NewBudgets(strangeAtOnce, strangeEvery, maxAttempts),
		users:   s4t.NewBudgets(guessedAtOnce, guessedEvery, maxAttempts),
	}
}

// attempt is what was taken for one.
type attempt []taken

type taken struct {
	from *s4t.Budgets
	key  string
}

// back gives it back.
func (a attempt) back(now time.Time) {
	for _, t := range a {
		t.from.Give(t.key, now)
	}
}

// take takes an attempt, or says how long it is until there is one. Where the
// source is not known (it is empty), there is no budget of it.
func (a *attempts) take(op, user, source string, known bool, now time.Time) (attempt, error) {
	var of []taken
	if !known && source != "" {
		of = append(of, taken{a.sources, source})
	}
	of = append(of, taken{a.pairs, source + " " + user})
	if !known {
		of = append(of, taken{a.users, user})
	}
	for i, t := range of {
		if wait, ok := t.from.Take(t.key, now); !ok {
			attempt(of[:i]).back(now)
			return nil, s4t.Errorf(s4t.TooMany, op, "wait a minute, then try again", "too many attempts that went wrong").After(wait)
		}
	}
	return of, nil
}

// right starts over for a user at a source.
func (a *attempts) right(user, source string) { a.pairs.Reset(source + " " + user) }

// clip makes what a stranger typed fit to be repeated: one line, no longer
// than a name.
func clip(s string) string { return s4t.Line(s, s4t.MaxName) }

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
