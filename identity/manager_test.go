package identity

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestAManagerManagesItsOwnProjectAndNothingElse(t *testing.T) {
	w := newWorld(t)
	max := w.user(t, "max", "lab", s4t.RoleManager)
	boss := w.user(t, "boss", "lab", s4t.RoleAdmin) // at home in the project, and the cloud's
	ctx := t.Context()
	create := func(name, project string, role s4t.Role) error {
		_, err := w.CreateUser(ctx, wire.UserCreate{Caller: max, Name: name, Project: project, Role: role, Password: name + "-password"})
		return err
	}
	remove := func(ref string) error {
		_, err := w.DeleteUser(ctx, wire.RefRequest{Caller: max, Ref: ref})
		return err
	}
	reset := func(ref string) error {
		_, err := w.SetPassword(ctx, wire.UserPassword{Caller: max, Ref: ref, Password: "another password"})
		return err
	}
	token := func(user, project string, role s4t.Role) error {
		_, err := w.CreateToken(ctx, wire.TokenCreate{Caller: max, User: user, Project: project, Role: role})
		return err
	}
	revoke := func(of wire.Caller) error {
		_, err := w.RevokeToken(ctx, wire.RefRequest{Caller: max, Ref: string(of.Token)})
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want s4t.Kind
	}{
		{"create a reader", create("ann", "lab", s4t.RoleReader), ""},
		{"create a manager", create("ben", "", s4t.RoleManager), ""},
		{"create an admin", create("cid", "lab", s4t.RoleAdmin), s4t.Forbidden},
		{"create a user of another project", create("dan", "other", s4t.RoleReader), s4t.NotFound},
		{"reset a member's password", reset("mary"), ""},
		{"reset a manager's password", reset("ben"), ""},
		{"reset the admin's password", reset("boss"), s4t.Forbidden},
		{"reset a stranger's password", reset("sam"), s4t.NotFound},
		{"reset the password of an admin elsewhere", reset("admin"), s4t.NotFound},
		{"make a member's token", token("mary", "", ""), ""},
		{"make a member's token that is stronger", token("mary", "", s4t.RoleManager), s4t.Forbidden},
		{"make an admin's token", token("boss", "", s4t.RoleReader), s4t.Forbidden},
		{"make a stranger's token", token("sam", "", s4t.RoleReader), s4t.NotFound},
		{"make a token for another project", token("", "other", s4t.RoleReader), s4t.NotFound},
		{"revoke a member's token", revoke(w.member), ""},
		{"revoke a stranger's token", revoke(w.stranger), s4t.NotFound},
		{"revoke an admin's token", revoke(boss), s4t.NotFound},
		{"delete a reader", remove("ann"), ""},
		{"delete the admin", remove("boss"), s4t.Forbidden},
		{"delete a stranger", remove("sam"), s4t.NotFound},
	} {
		wantKind(t, tt.name, tt.err, tt.want)
	}
	_, err := w.CreateProject(ctx, wire.ProjectCreate{Caller: max, Name: "mine"})
	wantKind(t, "create a project", err, s4t.Forbidden)
	users, err := w.ListUsers(ctx, wire.ListRequest{Caller: max})
	var names []string
	for _, u := range users.Items {
		names = append(names, u.Name)
	}
	if got := fmt.Sprint(names); err != nil || got != "[ben boss mary max rick]" {
		t.Errorf("a manager sees %s, %v", got, err)
	}
	tokens, err := w.ListTokens(ctx, wire.ListRequest{Caller: max})
	if err != nil || len(tokens.Items) != 3 { // of max and rick, and mary's new one
		t.Errorf("%+v, %v", tokens.Items, err)
	}
	for _, tok := range tokens.Items {
		if tok.Project != max.Project || tok.Role == s4t.RoleAdmin {
			t.Errorf("a manager sees %+v", tok)
		}
	}
	weak := max
	weak.Role = s4t.RoleMember
	_, err = w.DeleteUser(ctx, wire.RefRequest{Caller: weak, Ref: "rick"})
	wantKind(t, "a manager's weaker token", err, s4t.Forbidden)
	if !strings.Contains(fmt.Sprint(err), "it needs the role manager, this token has member; ask a manager of the project") {
		t.Errorf("%v", err)
	}
}

func TestATokenEndsWithTheOneThatMadeIt(t *testing.T) {
	w := newWorld(t)
	create := func(by wire.Caller, expires time.Duration) (s4t.Token, error) {
		return w.CreateToken(t.Context(), wire.TokenCreate{Caller: by, Expires: expires})
	}
	first, err := create(w.admin, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	thief := w.verify(t, first.Secret)
	for _, expires := range []time.Duration{0, 24 * time.Hour, time.Second} { // the least is the stronger
		tok, err := create(thief, expires)
		want := first.ExpiresAt
		if expires == time.Second {
			at := w.now.Add(time.Second)
			want = &at
		}
		if err != nil || tok.ExpiresAt == nil || !tok.ExpiresAt.Equal(*want) || tok.Parent != first.ID {
			t.Errorf("made by one of 2 s, for %v: %+v, %v", expires, tok, err)
		}
	}
	second, err := create(thief, 0)
	if err != nil {
		t.Fatal(err)
	}
	third, err := create(w.verify(t, second.Secret), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.RevokeToken(t.Context(), wire.RefRequest{Caller: w.admin, Ref: string(first.ID)}); err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]s4t.Token{"made by it": second, "made by that": third} {
		_, err := w.Verify(t.Context(), wire.VerifyRequest{Secret: tok.Secret})
		wantKind(t, name, err, s4t.Unauthenticated)
	}
	_, err = create(thief, 0)
	wantKind(t, "a caller that was resolved before it was revoked", err, s4t.Unauthenticated)

	// What a login gave has no parent, and ends by itself.
	lasting, err := create(w.admin, 0)
	if err != nil || lasting.ExpiresAt != nil {
		t.Errorf("made by one that lasts: %+v, %v", lasting, err)
	}
	w.now = w.now.Add(8 * 24 * time.Hour)
	if err := w.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.DeleteExpiredTokens(w.now) }); err != nil {
		t.Fatal(err)
	}
	w.verify(t, lasting.Secret)

	by := w.verify(t, lasting.Secret)
	for depth := 2; ; depth++ {
		tok, err := create(by, 0)
		if err != nil {
			wantKind(t, "a long line of tokens", err, s4t.Conflict)
			if depth != maxDepth+1 {
				t.Errorf("at %d", depth)
			}
			break
		}
		by = w.verify(t, tok.Secret)
	}
}

func TestTokensAndUsersHaveQuotas(t *testing.T) {
	w := newWorld(t)
	limit := int64(3)
	if err := w.db.Tx(t.Context(), func(tx *store.Tx) error {
		if err := tx.SetQuota(w.member.Project, s4t.QuotaTokens, &limit); err != nil {
			return err
		}
		return tx.SetQuota(w.member.Project, s4t.QuotaUsers, &limit)
	}); err != nil {
		t.Fatal(err)
	}
	create := func(by wire.Caller, expires time.Duration) error {
		_, err := w.CreateToken(t.Context(), wire.TokenCreate{Caller: by, Expires: expires})
		return err
	}
	for n := range 3 {
		wantKind(t, fmt.Sprint("token ", n), create(w.member, time.Minute), "")
	}
	err := create(w.member, time.Minute)
	wantKind(t, "one too many", err, s4t.Conflict)
	if !strings.Contains(fmt.Sprint(err), `"lab" uses 3 of its 3 tokens`) || !strings.Contains(fmt.Sprint(err), "ask an admin") {
		t.Errorf("%v", err)
	}
	wantKind(t, "another project", create(w.stranger, 0), "")
	_, err = w.Login(t.Context(), wire.LoginRequest{User: "rick", Password: "rick-password"})
	wantKind(t, "a login", err, "")
	w.now = w.now.Add(time.Hour)
	wantKind(t, "what has expired makes room", create(w.member, 0), "")

	user := func(name string) error {
		_, err := w.CreateUser(t.Context(), wire.UserCreate{Caller: w.admin, Name: name, Project: "lab", Role: s4t.RoleReader})
		return err
	}
	wantKind(t, "the third user", user("u3"), "")
	wantKind(t, "the fourth user", user("u4"), s4t.Conflict)

	p, err := w.GetProject(t.Context(), wire.RefRequest{Caller: w.reader, Ref: "lab"})
	if err != nil || p.Quota[s4t.QuotaTokens] != (s4t.Quota{Used: 1, Limit: 3}) || p.Quota[s4t.QuotaUsers] != (s4t.Quota{Used: 3, Limit: 3}) ||
		p.Quota[s4t.QuotaBoards] != (s4t.Quota{Limit: s4t.DefaultQuota[s4t.QuotaBoards]}) || len(p.Quota) != len(s4t.DefaultQuota) {
		t.Errorf("%+v, %v", p.Quota, err)
	}
}
