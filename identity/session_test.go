package identity

import (
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// halves are those of a session that a browser is to have.
func halves(n string) string { return wire.SessionSecret("cookie-"+n, "half-"+n) }

func TestASessionByPassword(t *testing.T) {
	w := newWorld(t)
	secret := halves("1")
	s, err := w.OpenSession(t.Context(), wire.SessionOpen{Login: wire.LoginRequest{User: "mary", Password: "mary-password", Source: "192.0.2.1"}, Secret: secret})
	if err != nil || s.User != "mary" || s.Role != s4t.RoleMember || s.ProjectName != "lab" || !s.Browser || s.ExpiresAt == nil || !s.ExpiresAt.Equal(w.now.Add(s4t.SessionLifetime)) {
		t.Fatalf("%+v, %v", s, err)
	}
	caller := w.verify(t, secret)
	if caller.User != "mary" || caller.Token != s.Token {
		t.Errorf("%+v", caller)
	}
	if again, err := w.GetSession(t.Context(), wire.SessionOf{Caller: caller}); err != nil || again.Token != s.Token || !again.Browser {
		t.Errorf("%+v, %v", again, err)
	}
	list, err := w.ListTokens(t.Context(), wire.ListRequest{Caller: caller})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, token := range list.Items {
		if token.ID == s.Token {
			found = token.Session && token.UsedAt != nil && token.Secret == ""
		} else if token.Session {
			t.Errorf("%+v is no session", token)
		}
	}
	if !found {
		t.Errorf("%+v", list.Items)
	}
	for name, req := range map[string]wire.SessionOpen{
		"a wrong password": {Login: wire.LoginRequest{User: "mary", Password: "x"}, Secret: halves("2")},
		"nobody":           {Secret: halves("2")},
	} {
		_, err := w.OpenSession(t.Context(), req)
		wantKind(t, name, err, s4t.Unauthenticated)
	}
	_, err = w.OpenSession(t.Context(), wire.SessionOpen{Login: wire.LoginRequest{User: "mary", Password: "mary-password"}, Secret: "short"})
	wantKind(t, "a secret that is none", err, s4t.Invalid)
}

func TestASessionEndsWhenNobodyUsesIt(t *testing.T) {
	w := newWorld(t)
	secret := halves("1")
	if _, err := w.OpenSession(t.Context(), wire.SessionOpen{Login: wire.LoginRequest{User: "mary", Password: "mary-password"}, Secret: secret}); err != nil {
		t.Fatal(err)
	}
	for range 5 { // it is used each eleven hours, and then for a while by the minute
		w.now = w.now.Add(11 * time.Hour)
		w.verify(t, secret)
	}
	for range 60 {
		w.now = w.now.Add(time.Minute)
		w.verify(t, secret)
	}
	w.now = w.now.Add(s4t.SessionIdle - useNoted)
	w.verify(t, secret) // the last use may be noted so much later
	w.now = w.now.Add(s4t.SessionIdle)
	_, err := w.Verify(t.Context(), wire.VerifyRequest{Secret: secret})
	wantKind(t, "after half a day", err, s4t.Unauthenticated)
	if err == nil || !strings.Contains(err.Error(), "12h") {
		t.Error(err)
	}
}

func TestASessionLastsAWeek(t *testing.T) {
	w := newWorld(t)
	secret := halves("1")
	if _, err := w.OpenSession(t.Context(), wire.SessionOpen{Login: wire.LoginRequest{User: "mary", Password: "mary-password"}, Secret: secret}); err != nil {
		t.Fatal(err)
	}
	began := w.now
	for w.now.Sub(began) < s4t.SessionLifetime-8*time.Hour {
		w.now = w.now.Add(8 * time.Hour)
		if w.now.Sub(began) < s4t.SessionLifetime {
			w.verify(t, secret)
		}
	}
	w.now = began.Add(s4t.SessionLifetime)
	_, err := w.Verify(t.Context(), wire.VerifyRequest{Secret: secret})
	wantKind(t, "after a week", err, s4t.Unauthenticated)
}

func TestALoginCode(t *testing.T) {
	w := newWorld(t)
	weak, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: w.member, Role: s4t.RoleReader, Expires: 10 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	reader := w.verify(t, weak.Secret)
	code := func(c wire.Caller) string {
		t.Helper()
		made, err := w.CreateLoginCode(t.Context(), wire.SessionOf{Caller: c})
		if err != nil || !made.ExpiresAt.Equal(w.now.Add(s4t.LoginCodeLifetime)) {
			t.Fatal(made, err)
		}
		return made.Code
	}
	open := func(code, n string) (s4t.Session, error) {
		return w.OpenSession(t.Context(), wire.SessionOpen{Code: code, Secret: halves(n)})
	}

	text := code(reader)
	s, err := open(text, "1")
	if err != nil || s.Role != s4t.RoleReader || s.User != "mary" || !s.ExpiresAt.Equal(*weak.ExpiresAt) {
		t.Fatalf("%+v, %v", s, err) // never stronger, never longer than the token
	}
	_, err = open(text, "2")
	wantKind(t, "the same code again", err, s4t.Unauthenticated)
	_, err = open("guessed", "2")
	wantKind(t, "a code that nobody made", err, s4t.Unauthenticated)

	old := code(reader)
	newer := code(reader)
	_, err = open(old, "2")
	wantKind(t, "a code that another one has replaced", err, s4t.Unauthenticated)
	w.now = w.now.Add(s4t.LoginCodeLifetime)
	_, err = open(newer, "2")
	wantKind(t, "a code of a minute ago", err, s4t.Unauthenticated)

	left := code(reader)
	if _, err := w.RevokeToken(t.Context(), wire.RefRequest{Caller: w.member, Ref: string(weak.ID)}); err != nil {
		t.Fatal(err)
	}
	_, err = open(left, "2")
	wantKind(t, "a code whose token is revoked", err, s4t.Unauthenticated)
	_, err = w.Verify(t.Context(), wire.VerifyRequest{Secret: halves("1")})
	wantKind(t, "a session whose token is revoked", err, s4t.Unauthenticated)

	_, err = w.CreateLoginCode(t.Context(), wire.SessionOf{Caller: wire.Caller{Project: "x"}})
	wantKind(t, "no role", err, s4t.Forbidden)
}
