package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// testKey is a conductors' key.
var testKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cloud's identity after its first start, with two projects and a
// user of each role in "lab".
type world struct {
	*Identity
	db    *store.DB
	now   time.Time
	first First

	admin, member, reader, stranger wire.Caller
}

// migrated is a file of SQLite with the schema: to make one takes many syncs of
// the disk.
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s4t.db")
	db, err := store.Open(context.Background(), store.Config{URL: "sqlite:" + path})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func newWorld(t *testing.T) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s4t.db")
	schema, err := migrated()
	if err == nil {
		err = os.WriteFile(path, schema, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{db: db, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	w.Identity, err = New(Config{Store: db, Key: testKey, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	w.password = newHasher(64) // the real cost is tested in password_test.go
	made, err := w.Bootstrap(t.Context(), func(f First) error { w.first = f; return nil })
	if err != nil || !made {
		t.Fatal(made, err)
	}
	w.admin = w.verify(t, w.first.Token.Secret)
	for _, p := range []string{"lab", "other"} {
		if _, err := w.CreateProject(t.Context(), wire.ProjectCreate{Caller: w.admin, Name: p}); err != nil {
			t.Fatal(err)
		}
	}
	w.member = w.user(t, "mary", "lab", s4t.RoleMember)
	w.reader = w.user(t, "rick", "lab", s4t.RoleReader)
	w.stranger = w.user(t, "sam", "other", s4t.RoleMember)
	return w
}

// user makes a user with the password NAME-password and logs in.
func (w *world) user(t *testing.T, name, project string, role s4t.Role) wire.Caller {
	t.Helper()
	req := wire.UserCreate{Caller: w.admin, Name: name, Project: project, Role: role, Password: name + "-password"}
	if _, err := w.CreateUser(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	token, err := w.Login(t.Context(), wire.LoginRequest{User: name, Password: name + "-password"})
	if err != nil {
		t.Fatal(err)
	}
	return w.verify(t, token.Secret)
}

func (w *world) verify(t *testing.T, secret string) wire.Caller {
	t.Helper()
	c, err := w.Verify(t.Context(), wire.VerifyRequest{Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// audit returns the records as "user action name outcome".
func (w *world) audit(t *testing.T) []string {
	t.Helper()
	recs, err := w.ListAudit(t.Context(), wire.AuditList{Caller: w.admin})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range recs.Items {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", r.User, r.Action, r.Name, r.Outcome))
	}
	return lines
}

func wantKind(t *testing.T, what string, err error, kind s4t.Kind) {
	t.Helper()
	if s4t.KindOf(err) != kind {
		t.Errorf("%s: %v (%s), want %q", what, err, s4t.KindOf(err), kind)
	}
}

func TestBootstrapHappensOnceAndOnlyWhenItsSecretsAreKept(t *testing.T) {
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "s4t.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	id, err := New(Config{Store: db, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if made, err := id.Bootstrap(t.Context(), func(First) error { return full }); made || !errors.Is(err, full) {
		t.Errorf("secrets not kept: %v, %v", made, err)
	}
	var first First
	if made, err := id.Bootstrap(t.Context(), func(f First) error { first = f; return nil }); !made || err != nil {
		t.Errorf("the next start: %v, %v", made, err)
	}
	if made, err := id.Bootstrap(t.Context(), func(First) error { t.Error("kept again"); return nil }); made || err != nil {
		t.Errorf("the start after that: %v, %v", made, err)
	}
	token, err := id.Login(t.Context(), wire.LoginRequest{User: AdminUser, Password: first.Password})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := id.Verify(t.Context(), wire.VerifyRequest{Secret: token.Secret})
	if err != nil || caller.Role != s4t.RoleAdmin || caller.User != AdminUser || caller.Project != first.Token.Project {
		t.Errorf("%+v, %v", caller, err)
	}
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	if _, err := w.CreateUser(t.Context(), wire.UserCreate{Caller: w.admin, Name: "robot", Project: "lab", Role: s4t.RoleMember}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		req  wire.LoginRequest
		kind s4t.Kind
	}{
		{"right", wire.LoginRequest{User: "mary", Password: "mary-password"}, ""},
		{"right, own project", wire.LoginRequest{User: "mary", Password: "mary-password", Project: "lab"}, ""},
		{"right, an admin in another project", wire.LoginRequest{User: "admin", Password: w.first.Password, Project: "other"}, ""},
		{"wrong password", wire.LoginRequest{User: "mary", Password: "x"}, s4t.Unauthenticated},
		{"no password", wire.LoginRequest{User: "mary"}, s4t.Unauthenticated},
		{"a very long password", wire.LoginRequest{User: "mary", Password: strings.Repeat("x", 1<<20)}, s4t.Unauthenticated},
		{"unknown user", wire.LoginRequest{User: "nobody", Password: "x"}, s4t.Unauthenticated},
		{"no user", wire.LoginRequest{Password: "x"}, s4t.Unauthenticated},
		{"a user without a password", wire.LoginRequest{User: "robot"}, s4t.Unauthenticated},
		{"wrong password for a project that does not exist", wire.LoginRequest{User: "mary", Password: "x", Project: "none"}, s4t.Unauthenticated},
		{"right, another's project", wire.LoginRequest{User: "mary", Password: "mary-password", Project: "other"}, s4t.NotFound},
		{"right, no such project", wire.LoginRequest{User: "mary", Password: "mary-password", Project: "none"}, s4t.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token, err := w.Login(t.Context(), tt.req)
			wantKind(t, tt.name, err, tt.kind)
			if err != nil {
				if tt.req.Password != "" && len(tt.req.Password) > 3 && strings.Contains(err.Error(), tt.req.Password) {
					t.Error("the error repeats the password")
				}
				return
			}
			if token.ExpiresAt == nil || !token.ExpiresAt.Equal(w.now.Add(7*24*time.Hour)) {
				t.Errorf("expires %v", token.ExpiresAt)
			}
		})
	}
	_, unknown := w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "x"})
	_, wrong := w.Login(t.Context(), wire.LoginRequest{User: "jane", Password: "x"})
	if strings.ReplaceAll(unknown.Error(), "mary", "jane") != wrong.Error() {
		t.Errorf("the error tells whether a user exists: %v, %v", unknown, wrong)
	}
	if all := w.audit(t); !slices.Contains(all, " login nobody unauthenticated") || !slices.Contains(all, "mary login  ok") {
		t.Errorf("audit: %q", all)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{"mary", "nobody"} {
		for n := range wrongAtOnce {
			_, err := w.Login(t.Context(), wire.LoginRequest{User: user, Password: "x"})
			wantKind(t, fmt.Sprintf("%s, guess %d", user, n+1), err, s4t.Unauthenticated)
		}
		_, err := w.Login(t.Context(), wire.LoginRequest{User: user, Password: "x"})
		wantKind(t, user+", one too many", err, s4t.TooMany)
	}
	_, err := w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "mary-password"})
	wantKind(t, "the right one, too early", err, s4t.TooMany)
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "rick", Password: "rick-password"})
	wantKind(t, "another user", err, "")
	w.now = w.now.Add(wrongEvery)
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "mary-password"})
	wantKind(t, "the right one, later", err, "")
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "x"})
	wantKind(t, "then it starts over", err, s4t.Unauthenticated)
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	create := func(req wire.TokenCreate) s4t.Token {
		t.Helper()
		tok, err := w.CreateToken(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	short := create(wire.TokenCreate{Caller: w.member, Expires: time.Hour})
	revoked := create(wire.TokenCreate{Caller: w.member})
	if _, err := w.RevokeToken(t.Context(), wire.RefRequest{Caller: w.member, Ref: string(revoked.ID)}); err != nil {
		t.Fatal(err)
	}
	narrow := create(wire.TokenCreate{Caller: w.admin, Project: "lab", Role: s4t.RoleReader})
	if c := w.verify(t, narrow.Secret); c.User != "admin" || c.Role != s4t.RoleReader || c.Project != w.member.Project || c.Token != narrow.ID {
		t.Errorf("narrow: %+v", c)
	}
	if c := w.verify(t, short.Secret); c != (wire.Caller{User: "mary", UserID: w.member.UserID, Project: w.member.Project, Role: s4t.RoleMember, Token: short.ID}).Signed(testKey, w.now) {
		t.Errorf("short: %+v", c)
	}
	w.now = w.now.Add(time.Hour)
	tests := []struct{ name, secret string }{
		{"expired", short.Secret},
		{"revoked", revoked.Secret},
		{"unknown", wire.TokenPrefix + strings.Repeat("A", store.SecretLen-len(wire.TokenPrefix))},
		{"empty", ""},
		{"a stored hash", store.HashSecret(narrow.Secret)},
		{"cut short", narrow.Secret[:len(narrow.Secret)-1]},
		{"one letter off", narrow.Secret[:len(narrow.Secret)-2] + "!!"},
		{"SQL", "s4t_' OR '1'='1"},
	}
	for _, tt := range tests {
		_, err := w.Verify(t.Context(), wire.VerifyRequest{Secret: tt.secret})
		wantKind(t, tt.name, err, s4t.Unauthenticated)
		if tt.secret != "" && strings.Contains(fmt.Sprint(err), tt.secret) {
			t.Errorf("%s: the error repeats the secret", tt.name)
		}
	}
	if _, err := w.DeleteUser(t.Context(), wire.RefRequest{Caller: w.admin, Ref: "mary"}); err != nil {
		t.Fatal(err)
	}
	last := create(wire.TokenCreate{Caller: w.reader})
	w.verify(t, last.Secret)
}

func TestWhoMayDoWhat(t *testing.T) {
	// Each row is tried by each caller in a world of its own.
	project := func(name string) func(*world, context.Context, wire.Caller) error {
		return func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.GetProject(ctx, wire.RefRequest{Caller: c, Ref: name})
			return err
		}
	}
	token := func(req wire.TokenCreate) func(*world, context.Context, wire.Caller) error {
		return func(w *world, ctx context.Context, c wire.Caller) error {
			req.Caller = c
			_, err := w.CreateToken(ctx, req)
			return err
		}
	}
	revoke := func(of func(*world) wire.Caller) func(*world, context.Context, wire.Caller) error {
		return func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.RevokeToken(ctx, wire.RefRequest{Caller: c, Ref: string(of(w).Token)})
			return err
		}
	}
	tests := []struct {
		name                            string
		do                              func(w *world, ctx context.Context, c wire.Caller) error
		admin, member, reader, stranger s4t.Kind
	}{
		{"create a project", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.CreateProject(ctx, wire.ProjectCreate{Caller: c, Name: "new"})
			return err
		}, "", s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"create a project with a weight", func(w *world, ctx context.Context, c wire.Caller) error {
			p, err := w.CreateProject(ctx, wire.ProjectCreate{Caller: c, Name: "new", Weight: s4t.MaxWeight})
			if err == nil && p.Weight != s4t.MaxWeight {
				t.Errorf("it weighs %d", p.Weight)
			}
			return err
		}, "", s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"create a project that weighs too much", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.CreateProject(ctx, wire.ProjectCreate{Caller: c, Name: "new", Weight: s4t.MaxWeight + 1})
			return err
		}, s4t.Invalid, s4t.Invalid, s4t.Invalid, s4t.Invalid},
		{"create a project that exists", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.CreateProject(ctx, wire.ProjectCreate{Caller: c, Name: "lab"})
			return err
		}, s4t.Conflict, s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"show a project", project("lab"), "", "", "", s4t.NotFound},
		{"show a project that does not exist", project("none"), s4t.NotFound, s4t.NotFound, s4t.NotFound, s4t.NotFound},
		{"delete a project in use", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.DeleteProject(ctx, wire.RefRequest{Caller: c, Ref: "lab"})
			return err
		}, s4t.Conflict, s4t.Forbidden, s4t.Forbidden, s4t.NotFound},
		{"delete the project of the token in use", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.DeleteProject(ctx, wire.RefRequest{Caller: c, Ref: "default"})
			return err
		}, s4t.Conflict, s4t.NotFound, s4t.NotFound, s4t.NotFound},
		{"create a user", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.CreateUser(ctx, wire.UserCreate{Caller: c, Name: "new", Project: "lab", Role: s4t.RoleAdmin})
			return err
		}, "", s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"create a user that exists", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.CreateUser(ctx, wire.UserCreate{Caller: c, Name: "mary", Project: "lab", Role: s4t.RoleAdmin})
			return err
		}, s4t.Conflict, s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"create a user of no project", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.CreateUser(ctx, wire.UserCreate{Caller: c, Name: "new", Project: "none", Role: s4t.RoleAdmin})
			return err
		}, s4t.NotFound, s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"delete a user", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.DeleteUser(ctx, wire.RefRequest{Caller: c, Ref: "rick"})
			return err
		}, "", s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"delete a user that does not exist", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.DeleteUser(ctx, wire.RefRequest{Caller: c, Ref: "nobody"})
			return err
		}, s4t.NotFound, s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"delete the last admin", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.DeleteUser(ctx, wire.RefRequest{Caller: c, Ref: "admin"})
			return err
		}, s4t.Conflict, s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"change one's own password", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.SetPassword(ctx, wire.UserPassword{Caller: c, Password: "another password"})
			return err
		}, "", "", "", ""},
		{"change one's own password, by name", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.SetPassword(ctx, wire.UserPassword{Caller: c, Ref: c.User, Password: "another password"})
			return err
		}, "", "", "", ""},
		{"change a password to none", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.SetPassword(ctx, wire.UserPassword{Caller: c})
			return err
		}, s4t.Invalid, s4t.Invalid, s4t.Invalid, s4t.Invalid},
		{"change rick's password", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.SetPassword(ctx, wire.UserPassword{Caller: c, Ref: "rick", Password: "another password"})
			return err
		}, "", s4t.Forbidden, "", s4t.Forbidden},
		{"change the password of nobody", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.SetPassword(ctx, wire.UserPassword{Caller: c, Ref: "nobody", Password: "another password"})
			return err
		}, s4t.NotFound, s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"create a token like one's own", token(wire.TokenCreate{}), "", "", "", ""},
		{"create an admin's token", token(wire.TokenCreate{Role: s4t.RoleAdmin}), "", s4t.Forbidden, s4t.Forbidden, s4t.Forbidden},
		{"create a member's token", token(wire.TokenCreate{Role: s4t.RoleMember}), "", "", s4t.Forbidden, ""},
		{"create a reader's token", token(wire.TokenCreate{Role: s4t.RoleReader}), "", "", "", ""},
		{"create a token for another project", token(wire.TokenCreate{Project: "other"}), "", s4t.NotFound, s4t.NotFound, ""},
		{"create a token of no role", token(wire.TokenCreate{Role: "boss"}), s4t.Invalid, s4t.Invalid, s4t.Invalid, s4t.Invalid},
		{"create a token that expired", token(wire.TokenCreate{Expires: -time.Hour}), s4t.Invalid, s4t.Invalid, s4t.Invalid, s4t.Invalid},
		{"revoke one's own token", func(w *world, ctx context.Context, c wire.Caller) error {
			_, err := w.RevokeToken(ctx, wire.RefRequest{Caller: c, Ref: string(c.Token)})
			return err
		}, "", "", "", ""},
		{"revoke a member's token", revoke(func(w *world) wire.Caller { return w.member }), "", "", s4t.NotFound, s4t.NotFound},
		{"revoke an admin's token", revoke(func(w *world) wire.Caller { return w.admin }), "", s4t.NotFound, s4t.NotFound, s4t.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, by := range []struct {
				name   string
				caller wire.Caller
				want   s4t.Kind
			}{{"stranger", w.stranger, tt.stranger}, {"reader", w.reader, tt.reader}, {"member", w.member, tt.member}, {"admin", w.admin, tt.admin}} {
				before := w.state(t)
				err := tt.do(w, t.Context(), by.caller)
				if strings.HasPrefix(tt.name, "revoke a member's") && by.name == "admin" && by.want == "" {
					by.want = s4t.NotFound // the member did it before
				}
				wantKind(t, by.name, err, by.want)
				if err != nil && w.state(t) != before {
					t.Errorf("%s: refused, and yet something changed", by.name)
				}
			}
		})
	}
}

// state is everything but the audit, as text.
func (w *world) state(t *testing.T) string {
	t.Helper()
	var all struct {
		P, U, T any
		H       string
	}
	err := w.db.View(t.Context(), func(tx *store.Tx) (err error) {
		if all.P, err = tx.Projects(wire.Page{}); err != nil {
			return err
		}
		if all.U, err = tx.Users("", wire.Page{}); err != nil {
			return err
		}
		for _, u := range []string{"admin", "mary", "rick", "sam"} {
			if id, err := tx.User(u); err == nil {
				hash, _ := tx.UserPassword(id.ID)
				all.H += hash
			}
		}
		all.T, err = tx.Tokens(store.TokenFilter{}, wire.Page{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	names := func(c wire.Caller) (projects, users []string, tokens int) {
		t.Helper()
		ps, err1 := w.ListProjects(t.Context(), wire.ListRequest{Caller: c})
		us, err2 := w.ListUsers(t.Context(), wire.ListRequest{Caller: c})
		ts, err3 := w.ListTokens(t.Context(), wire.ListRequest{Caller: c})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		for _, p := range ps.Items {
			projects = append(projects, p.Name)
		}
		for _, u := range us.Items {
			users = append(users, u.Name)
		}
		for _, tok := range ts.Items {
			if tok.Secret != "" {
				t.Error("a list shows a secret")
			}
		}
		return projects, users, len(ts.Items)
	}
	for _, tt := range []struct {
		name   string
		caller wire.Caller
		want   string
	}{
		{"admin", w.admin, "[default lab other] [admin mary rick sam] 4"},
		{"member", w.member, "[lab] [mary] 1"},
		{"reader", w.reader, "[lab] [rick] 1"},
		{"stranger", w.stranger, "[other] [sam] 1"},
	} {
		p, u, n := names(tt.caller)
		if got := fmt.Sprint(p, " ", u, " ", n); got != tt.want {
			t.Errorf("%s sees %s, want %s", tt.name, got, tt.want)
		}
	}
	if _, err := w.ListTokens(t.Context(), wire.ListRequest{}); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("nobody: %v", err)
	}
}

func TestATokenIsNeverStrongerThanTheOneThatMadeIt(t *testing.T) {
	w := newWorld(t)
	narrow, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: w.admin, Role: s4t.RoleReader})
	if err != nil {
		t.Fatal(err)
	}
	caller := w.verify(t, narrow.Secret)
	_, err = w.CreateToken(t.Context(), wire.TokenCreate{Caller: caller, Role: s4t.RoleAdmin})
	wantKind(t, "an admin's reader token makes an admin token", err, s4t.Forbidden)
	_, err = w.RevokeToken(t.Context(), wire.RefRequest{Caller: caller, Ref: string(w.admin.Token)})
	wantKind(t, "an admin's reader token revokes the admin token", err, s4t.NotFound)
}

func TestAuditSaysWhoDidWhatAndNoSecret(t *testing.T) {
	w := newWorld(t)
	w.CreateProject(t.Context(), wire.ProjectCreate{Caller: w.member, Name: "mine"})
	token, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: w.member})
	if err != nil {
		t.Fatal(err)
	}
	recs, err := w.ListAudit(t.Context(), wire.AuditList{Caller: w.admin})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(recs.Items)
	for _, secret := range []string{token.Secret, store.HashSecret(token.Secret), w.first.Password, w.first.Token.Secret, "mary-password", "argon2id"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the audit has the secret %q", secret)
		}
	}
	lines := w.audit(t)
	for _, want := range []string{"admin project.create lab ok", "admin user.create mary ok", "mary project.create mine forbidden", "mary token.create member ok"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit lacks %q: %q", want, lines)
		}
	}
	own, err := w.ListAudit(t.Context(), wire.AuditList{Caller: w.stranger})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range own.Items {
		if r.Project != w.stranger.Project {
			t.Errorf("a stranger sees %+v", r)
		}
	}
	w.now = w.now.Add(time.Hour)
	if recs, err := w.ListAudit(t.Context(), wire.AuditList{Caller: w.admin, Since: time.Minute}); err != nil || len(recs.Items) != 0 {
		t.Errorf("since a minute: %v, %v", recs, err)
	}
}

func TestRunForgetsExpiredTokens(t *testing.T) {
	w := newWorld(t)
	if _, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: w.member, Expires: time.Hour}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(8*24*time.Hour + time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	for len(w.tokensOf(t, "mary")) > 1 {
		time.Sleep(time.Millisecond) // Run tells nobody
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func (w *world) tokensOf(t *testing.T, user string) (of []store.TokenRow) {
	t.Helper()
	if err := w.db.View(t.Context(), func(tx *store.Tx) error {
		u, err := tx.User(user)
		if err == nil {
			var l wire.List[store.TokenRow]
			l, err = tx.Tokens(store.TokenFilter{User: u.ID}, wire.Page{})
			of = l.Items
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return of
}

func TestEveryMethodOfIdentityIsOnTheMux(t *testing.T) {
	w := newWorld(t)
	mux := queue.Mux{}
	w.Register(mux)
	for _, m := range []string{wire.MethodLogin, wire.MethodSessionOpen, wire.MethodSessionGet, wire.MethodSessionCode, wire.MethodVerify, wire.MethodProjectCreate, wire.MethodProjectList, wire.MethodProjectGet,
		wire.MethodProjectDelete, wire.MethodUserCreate, wire.MethodUserList, wire.MethodUserDelete, wire.MethodUserPassword, wire.MethodTokenCreate,
		wire.MethodTokenList, wire.MethodTokenRevoke, wire.MethodAuditList} {
		if _, err := mux.Serve(t.Context(), m, []byte(`{}`)); s4t.KindOf(err) == s4t.NotFound && strings.Contains(err.Error(), "method") {
			t.Errorf("%s: %v", m, err)
		}
		if _, err := mux.Serve(t.Context(), m, []byte(`{}`)); err == nil {
			t.Errorf("%s: nobody may call it", m)
		}
	}
}

func TestAChangedPasswordIsTheOneThatLogsIn(t *testing.T) {
	w := newWorld(t)
	if _, err := w.SetPassword(t.Context(), wire.UserPassword{Caller: w.member, Password: "swordfish and chips"}); err != nil {
		t.Fatal(err)
	}
	_, err := w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "mary-password"})
	wantKind(t, "with the old one", err, s4t.Unauthenticated)
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "swordfish and chips"})
	wantKind(t, "with the new one", err, "")
	if _, err := w.Verify(t.Context(), wire.VerifyRequest{Secret: w.first.Token.Secret}); err != nil {
		t.Errorf("a token: %v", err)
	}
	w.SetPassword(t.Context(), wire.UserPassword{Caller: w.stranger, Ref: "mary", Password: "tuna and chips"})
	lines := w.audit(t)
	for _, want := range []string{"mary user.password mary ok", "sam user.password mary forbidden"} {
		if !slices.Contains(lines, want) {
			t.Errorf("the audit lacks %q: %q", want, lines)
		}
	}
}

func TestAWeakTokenDoesNotBecomeItsUserByAPassword(t *testing.T) {
	w := newWorld(t)
	for _, c := range []wire.Caller{w.admin, w.member} {
		weak, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: c, Role: s4t.RoleReader})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.SetPassword(t.Context(), wire.UserPassword{Caller: w.verify(t, weak.Secret), Password: "another password"})
		wantKind(t, "a reader's token of "+c.User, err, s4t.Forbidden)
	}
}

func TestListsHavePages(t *testing.T) {
	w := newWorld(t)
	for n := range 3 {
		if _, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: w.member, Role: s4t.RoleReader}); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Second)
		if n == 1 { // one that a reader's token does not see
			if _, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: w.member}); err != nil {
				t.Fatal(err)
			}
		}
	}
	reader := w.member
	reader.Role = s4t.RoleReader
	pages := map[string]func(wire.Page) (int, string, error){
		"projects": func(p wire.Page) (int, string, error) {
			l, err := w.ListProjects(t.Context(), wire.ListRequest{Caller: w.admin, Page: p})
			return len(l.Items), l.Next, err
		},
		"users": func(p wire.Page) (int, string, error) {
			l, err := w.ListUsers(t.Context(), wire.ListRequest{Caller: w.admin, Page: p})
			return len(l.Items), l.Next, err
		},
		"tokens": func(p wire.Page) (int, string, error) {
			l, err := w.ListTokens(t.Context(), wire.ListRequest{Caller: w.admin, Page: p})
			return len(l.Items), l.Next, err
		},
		"a reader's tokens": func(p wire.Page) (int, string, error) {
			l, err := w.ListTokens(t.Context(), wire.ListRequest{Caller: reader, Page: p})
			return len(l.Items), l.Next, err
		},
		"audit": func(p wire.Page) (int, string, error) {
			l, err := w.ListAudit(t.Context(), wire.AuditList{Caller: w.admin, Page: p})
			return len(l.Items), l.Next, err
		},
	}
	want := map[string]int{"projects": 3, "users": 4, "tokens": 8, "a reader's tokens": 3, "audit": len(w.audit(t))}
	for name, list := range pages {
		got, next := 0, ""
		for {
			n, after, err := list(wire.Page{Limit: 2, After: next})
			if err != nil || n > 2 {
				t.Fatalf("%s: %d, %v", name, n, err)
			}
			got += n
			if next = after; next == "" {
				break
			}
		}
		if got != want[name] {
			t.Errorf("%s: %d, want %d", name, got, want[name])
		}
		if _, _, err := list(wire.Page{After: "nonsense"}); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s after nonsense: %v", name, err)
		}
	}
}

func TestWhatStrangersTypeIsRepeatedAsOneWholeLine(t *testing.T) {
	w := newWorld(t)
	_, err := w.Login(t.Context(), wire.LoginRequest{User: strings.Repeat("x", s4t.MaxName-1) + "é\x00\n", Password: "x"})
	wantKind(t, "login", err, s4t.Unauthenticated)
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "x", Project: "a\x00"})
	wantKind(t, "login to no project", err, s4t.Unauthenticated)
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "mary", Password: "mary-password", Project: "a\x00"})
	wantKind(t, "login to no project, with the password", err, s4t.NotFound)
	if want := " login " + strings.Repeat("x", s4t.MaxName-1) + " unauthenticated"; !slices.Contains(w.audit(t), want) {
		t.Errorf("the audit lacks %q: %q", want, w.audit(t))
	}
}
