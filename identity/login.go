package identity

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Login exchanges a password for a token of the user's role in a project: the
// user's own, or any that exists for an admin. An unknown user and a wrong
// password are one answer, after the same time.
func (i *Identity) Login(ctx context.Context, req wire.LoginRequest) (s4t.Token, error) {
	op := fmt.Sprintf("log in as %q", clip(req.User))
	now := i.cfg.Now()
	if !i.attempts.allow(req.User, now) {
		return s4t.Token{}, s4t.Errorf(s4t.TooMany, op, "wait a minute, then try again", "too many attempts that went wrong")
	}
	var user s4t.User
	var project s4t.Project
	var hash string
	err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		user, hash, project = s4t.User{}, "", s4t.Project{}
		if clip(req.User) != req.User {
			return nil // nobody is called that
		}
		if user, err = tx.User(req.User); err == nil {
			hash, err = tx.UserPassword(user.ID)
		}
		if s4t.KindOf(err) == s4t.NotFound {
			return nil
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
		return s4t.Token{}, err
	}
	ok, err := i.password.check(ctx, op, hash, req.Password)
	if err != nil {
		return s4t.Token{}, err
	}
	rec := s4t.AuditRecord{At: now, User: clip(req.User), Project: user.Project, Action: "login", Outcome: "ok"}
	if !ok {
		i.attempts.failed(req.User, now)
		rec.User, rec.Name = "", clip(req.User)
		i.recordRefusal(ctx, rec, s4t.Unauthenticated)
		return s4t.Token{}, s4t.Errorf(s4t.Unauthenticated, op, "check both and try again", "the user or the password is wrong")
	}
	if project.ID == "" || user.Role != s4t.RoleAdmin && project.ID != user.Project {
		return s4t.Token{}, s4t.Errorf(s4t.NotFound, op, "leave the project out to use your own", "project %q does not exist", clip(req.Project))
	}
	i.attempts.succeeded(req.User)
	expires := now.Add(i.cfg.LoginLifetime)
	token := newToken(user.Name, project.ID, user.Role, &expires, now)
	rec.User, rec.Project, rec.Object = user.Name, project.ID, string(token.ID)
	err = i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertToken(token, user.ID, secretHash(token.Secret)); err != nil {
			return err
		}
		return tx.InsertAudit(rec)
	})
	if err != nil {
		return s4t.Token{}, err
	}
	return token, nil
}

// attempts bounds how often a password of one user may be guessed: 10 wrong
// ones, then one every 6 s. A right one starts over. It is kept for names
// whether they exist or not.
type attempts struct {
	mu    sync.Mutex // guards users
	users map[string]*rate.Limiter
}

const (
	wrongAtOnce = 10
	wrongEvery  = 6 * time.Second
	maxAttempts = 10000 // names that are remembered
)

func newAttempts() *attempts { return &attempts{users: map[string]*rate.Limiter{}} }

// allow reports whether one more attempt is left. It takes none.
func (a *attempts) allow(user string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.users[user]
	return l == nil || l.TokensAt(now) >= 1
}

// failed takes one attempt.
func (a *attempts) failed(user string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.users[user]
	if l == nil {
		if len(a.users) >= maxAttempts {
			a.forget(now)
		}
		l = rate.NewLimiter(rate.Every(wrongEvery), wrongAtOnce)
		a.users[user] = l
	}
	l.AllowN(now, 1)
}

// succeeded starts over.
func (a *attempts) succeeded(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.users, user)
}

// forget makes room: names whose attempts have all come back, else any tenth.
func (a *attempts) forget(now time.Time) {
	for name, l := range a.users {
		if l.TokensAt(now) >= wrongAtOnce {
			delete(a.users, name)
		}
	}
	for name := range a.users {
		if len(a.users) < maxAttempts*9/10 {
			return
		}
		delete(a.users, name)
	}
}

// clip makes what a stranger typed fit to be repeated: one line, no longer
// than a name.
func clip(s string) string { return s4t.Line(s, s4t.MaxName) }

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
