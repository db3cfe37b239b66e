package store

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// at is a time that both engines keep exactly.
var at = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

func newProject(name string) s4t.Project {
	return s4t.Project{ID: s4t.ProjectID(s4t.NewID()), Name: name, Weight: 1, CreatedAt: at}
}

func newUser(name string, p s4t.Project, role s4t.Role) s4t.User {
	return s4t.User{ID: s4t.UserID(s4t.NewID()), Name: name, Project: p.ID, Role: role, CreatedAt: at}
}

func TestIdentityRows(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, empty := newProject("lab"), newProject("empty")
		ann, bob := newUser("ann", lab, s4t.RoleAdmin), newUser("bob", lab, s4t.RoleMember)
		expires := at.Add(time.Hour)
		token := s4t.Token{ID: s4t.TokenID(s4t.NewID()), Project: empty.ID, Role: s4t.RoleReader, ExpiresAt: &expires, CreatedAt: at}
		lasting := s4t.Token{ID: s4t.TokenID(s4t.NewID()), Project: lab.ID, Role: s4t.RoleAdmin, CreatedAt: at.Add(time.Second)}
		write(t, db, func(tx *Tx) error {
			for _, err := range []error{
				tx.InsertProject(lab), tx.InsertProject(empty),
				tx.InsertUser(ann, "hash"), tx.InsertUser(bob, ""),
				tx.InsertToken(TokenRow{Token: token, UserID: bob.ID}, "h1"), tx.InsertToken(TokenRow{Token: lasting, UserID: ann.ID}, "h2"),
			} {
				if err != nil {
					return err
				}
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			check := func(what string, got any, err error, want any) {
				t.Helper()
				if err != nil {
					t.Errorf("%s: %v", what, err)
				} else if d := diff.Diff(want, got); d != "" {
					t.Errorf("%s (-want +got):\n%s", what, d)
				}
			}
			for _, ref := range []string{"lab", string(lab.ID)} {
				p, err := tx.Project(ref)
				check("project by "+ref, p, err, lab)
			}
			ps, err := tx.Projects(wire.Page{})
			check("projects by name", ps.Items, err, []s4t.Project{empty, lab})
			u, err := tx.User("ann")
			check("user by name", u, err, ann)
			us, err := tx.Users("", wire.Page{})
			check("users by name", us.Items, err, []s4t.User{ann, bob})
			hash, err := tx.UserPassword(ann.ID)
			check("password", hash, err, "hash")
			admins, err := tx.Admins()
			check("admins", admins, err, []s4t.UserID{ann.ID})
			want := TokenRow{Token: token, UserID: bob.ID, UserRole: s4t.RoleMember}
			want.User = "bob"
			row, err := tx.TokenByHash("h1")
			check("token by hash", row, err, want)
			row, err = tx.Token(token.ID)
			check("token by id", row, err, want)
			for name, f := range map[string]TokenFilter{
				"of a user": {User: bob.ID}, "of a project": {Project: empty.ID}, "of roles": {User: bob.ID, Roles: []s4t.Role{s4t.RoleReader, s4t.RoleMember}},
				"of all of them": {User: bob.ID, Project: empty.ID, Roles: []s4t.Role{s4t.RoleReader}},
			} {
				rows, err := tx.Tokens(f, wire.Page{})
				check("tokens "+name, rows.Items, err, []TokenRow{want})
			}
			if rows, _ := tx.Tokens(TokenFilter{}, wire.Page{}); len(rows.Items) != 2 {
				t.Errorf("all tokens: %d, want 2", len(rows.Items))
			}
			first, err := tx.Tokens(TokenFilter{}, wire.Page{Limit: 1})
			check("the oldest token", first.Items, err, []TokenRow{want})
			second, err := tx.Tokens(TokenFilter{}, wire.Page{Limit: 1, After: first.Next})
			if err != nil || len(second.Items) != 1 || second.Items[0].ID != lasting.ID || second.Next != "" {
				t.Errorf("the next token: %+v, %v", second, err)
			}
			if ps, err := tx.Projects(wire.Page{Limit: 1, After: cursor([]any{"empty"})}); err != nil || len(ps.Items) != 1 || ps.Items[0].Name != "lab" || ps.Next != "" {
				t.Errorf("the projects after empty: %+v, %v", ps, err)
			}
			if us, err := tx.Users("", wire.Page{Limit: 1}); err != nil || len(us.Items) != 1 || us.Items[0].Name != "ann" || us.Next == "" {
				t.Errorf("the first user: %+v, %v", us, err)
			}
			if _, err := tx.Token("none"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a token that does not exist: %v", err)
			}
			return nil
		})
	})
}

func TestAProjectsWeightIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, other := newProject("lab"), newProject("other")
		other.Weight = 7
		write(t, db, func(tx *Tx) error { return errors.Join(tx.InsertProject(lab), tx.InsertProject(other)) })
		write(t, db, func(tx *Tx) error { return tx.SetWeight(lab.ID, 3) })
		lab.Weight = 3
		view(t, db, func(tx *Tx) error {
			ps, err := tx.Projects(wire.Page{})
			if d := diff.Diff([]s4t.Project{lab, other}, ps.Items); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			return err
		})
	})
}

func TestConstraints(t *testing.T) {
	lab := newProject("lab")
	ann := newUser("ann", lab, s4t.RoleMember)
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertProject(lab); err != nil {
				return err
			}
			return tx.InsertUser(ann, "")
		})
		tests := []struct {
			name string
			do   func(tx *Tx) error
			is   func(error) bool
		}{
			{"two projects of one name", func(tx *Tx) error { return tx.InsertProject(newProject("lab")) },
				func(err error) bool {
					return IsUnique(err, "projects.name") && !IsUnique(err, "projects.id") && !IsInUse(err)
				}},
			{"two projects of one id", func(tx *Tx) error { return tx.InsertProject(s4t.Project{ID: lab.ID, Name: "x"}) },
				func(err error) bool { return IsUnique(err, "projects.id") }},
			{"a user of no project", func(tx *Tx) error { return tx.InsertUser(newUser("bob", newProject("x"), s4t.RoleAdmin), "") }, IsInUse},
			{"a project with a user is deleted", func(tx *Tx) error { return tx.DeleteProject(lab.ID) }, IsInUse},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				err := db.Tx(t.Context(), tt.do)
				if s4t.KindOf(err) != s4t.Conflict || !tt.is(err) {
					t.Errorf("%v (%s)", err, s4t.KindOf(err))
				}
			})
		}
		write(t, db, func(tx *Tx) error { return tx.DeleteUser(ann.ID) })
		write(t, db, func(tx *Tx) error { return tx.DeleteProject(lab.ID) })
	})
}

func TestTokensGoWithTheirUserAndProjectAndWhenTheyExpire(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, other := newProject("lab"), newProject("other")
		ann, bob := newUser("ann", lab, s4t.RoleMember), newUser("bob", lab, s4t.RoleMember)
		late := at.Add(time.Minute)
		write(t, db, func(tx *Tx) error {
			for _, err := range []error{
				tx.InsertProject(lab), tx.InsertProject(other), tx.InsertUser(ann, ""), tx.InsertUser(bob, ""),
				tx.InsertToken(TokenRow{Token: s4t.Token{ID: "1", Project: lab.ID, Role: s4t.RoleReader, CreatedAt: at}, UserID: ann.ID}, "1"),
				tx.InsertToken(TokenRow{Token: s4t.Token{ID: "2", Project: other.ID, Role: s4t.RoleReader, CreatedAt: at}, UserID: bob.ID}, "2"),
				tx.InsertToken(TokenRow{Token: s4t.Token{ID: "3", Project: lab.ID, Role: s4t.RoleReader, CreatedAt: at, ExpiresAt: &late}, UserID: bob.ID}, "3"),
				tx.InsertToken(TokenRow{Token: s4t.Token{ID: "4", Project: lab.ID, Role: s4t.RoleReader, CreatedAt: at}, UserID: bob.ID}, "4"),
				tx.DeleteUser(ann.ID), tx.DeleteProject(other.ID), tx.DeleteExpiredTokens(late.Add(time.Second)),
			} {
				if err != nil {
					return err
				}
			}
			rows, err := tx.Tokens(TokenFilter{}, wire.Page{})
			if err == nil && (len(rows.Items) != 1 || rows.Items[0].ID != "4") {
				t.Errorf("left: %+v", rows)
			}
			return err
		})
		write(t, db, func(tx *Tx) error { return errors.Join(tx.SetUserPassword(bob.ID, "another"), tx.DeleteToken("4")) })
		view(t, db, func(tx *Tx) error {
			hash, err := tx.UserPassword(bob.ID)
			same(t, "password", hash, err, "another")
			_, err = tx.Token("4")
			same(t, "a token that was revoked", s4t.KindOf(err), nil, s4t.NotFound)
			return nil
		})
	})
}

func TestAuditIsFilteredAndInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		recs := []s4t.AuditRecord{
			{At: at, User: "ann", Project: "p1", Action: "board.create", Object: "b1", Name: "kitchen", Outcome: "ok"},
			{At: at.Add(time.Second), User: "bob", Project: "p2", Action: "stream.open", Board: "b1", Outcome: "ok", Detail: "127.0.0.1:22"},
			{At: at.Add(2 * time.Second), Action: "login", Name: "kitchen", Outcome: "unauthenticated"},
		}
		write(t, db, func(tx *Tx) error {
			for i := range recs {
				if err := tx.InsertAudit(recs[i]); err != nil {
					return err
				}
				recs[i].ID = int64(i + 1)
			}
			return nil
		})
		tests := []struct {
			name   string
			filter AuditFilter
			want   []s4t.AuditRecord
		}{
			{"all", AuditFilter{}, recs},
			{"of a project", AuditFilter{Project: "p1"}, recs[:1]},
			{"of a board by id", AuditFilter{Board: "b1"}, recs[:2]},
			{"of a board by name", AuditFilter{Board: "kitchen"}, recs[:1]},
			{"since a time", AuditFilter{Since: at.Add(time.Second)}, recs[1:]},
			{"none", AuditFilter{Project: "p3"}, []s4t.AuditRecord{}},
		}
		for _, tt := range tests {
			view(t, db, func(tx *Tx) error {
				got, err := tx.AuditRecords(tt.filter, wire.Page{})
				if d := diff.Diff(tt.want, got.Items); d != "" {
					t.Errorf("%s (-want +got):\n%s", tt.name, d)
				}
				return err
			})
		}
	})
}

func TestTheAuditIsTrimmedByParts(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			for n, r := range []s4t.AuditRecord{{Action: "a", Project: "p1"}, {Action: "b", Project: "p1"}, {Action: "c", Project: "p1", Outcome: "conflict"},
				{Action: "d", Project: "p2"}, {Action: "e", Project: "p2", Outcome: "forbidden"}, {Action: "f", Project: "p1"}} {
				r.At = at.Add(time.Duration(n) * time.Second)
				if r.Outcome == "" {
					r.Outcome = "ok"
				}
				if err := tx.InsertAudit(r); err != nil {
					return err
				}
			}
			shares, err := tx.AuditShares()
			slices.SortFunc(shares, func(a, b AuditShare) int {
				return cmp.Or(strings.Compare(string(a.Project), string(b.Project)), bit(a.Refused)-bit(b.Refused))
			})
			if d := diff.Diff([]AuditShare{{"p1", false, 3}, {"p1", true, 1}, {"p2", false, 1}, {"p2", true, 1}}, shares); err != nil || d != "" {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
			for _, trim := range []struct {
				part       AuditShare
				keep, most int
				want       int64
			}{{AuditShare{Project: "p1"}, 1, 1, 1}, {AuditShare{Project: "p1"}, 1, 5, 1}, {AuditShare{Project: "p1"}, 1, 5, 0}, {AuditShare{Project: "p2", Refused: true}, 0, 5, 1}, {AuditShare{Project: "p2"}, 7, 5, 0}} {
				last, err := tx.AuditBefore(trim.part, trim.keep)
				var n int64
				if err == nil {
					n, err = tx.TrimAudit(trim.part, last, trim.most)
				}
				same(t, fmt.Sprintf("trimmed %+v", trim), n, err, trim.want)
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			left, err := tx.AuditRecords(AuditFilter{}, wire.Page{})
			var actions []string
			for _, r := range left.Items {
				actions = append(actions, r.Action)
			}
			same(t, "records that are left", fmt.Sprint(actions), err, "[c d f]")
			return nil
		})
	})
}

func TestATokenEndsWithTheOneThatMadeIt(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, other := newProject("lab"), newProject("other")
		ann := newUser("ann", lab, s4t.RoleMember)
		token := func(id, parent string, project s4t.ProjectID) TokenRow {
			return TokenRow{Token: s4t.Token{ID: s4t.TokenID(id), Project: project, Role: s4t.RoleReader, CreatedAt: at, Parent: s4t.TokenID(parent)}, UserID: ann.ID}
		}
		write(t, db, func(tx *Tx) error {
			for _, err := range []error{
				tx.InsertProject(lab), tx.InsertProject(other), tx.InsertUser(ann, ""),
				tx.InsertToken(token("1", "", lab.ID), "1"), tx.InsertToken(token("2", "1", other.ID), "2"), tx.InsertToken(token("3", "2", lab.ID), "3"),
				tx.InsertToken(token("4", "", lab.ID), "4"), tx.DeleteToken("1"),
			} {
				if err != nil {
					return err
				}
			}
			rows, err := tx.Tokens(TokenFilter{}, wire.Page{})
			if err == nil && (len(rows.Items) != 1 || rows.Items[0].ID != "4") {
				t.Errorf("left: %+v", rows)
			}
			return err
		})
		if err := db.Tx(t.Context(), func(tx *Tx) error { return tx.InsertToken(token("5", "1", lab.ID), "5") }); !IsInUse(err) {
			t.Errorf("made by one that has gone: %v", err)
		}
	})
}

func TestLoginsAreRememberedAndBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab := newProject("lab")
		ann := newUser("ann", lab, s4t.RoleMember)
		write(t, db, func(tx *Tx) error {
			if err := errors.Join(tx.InsertProject(lab), tx.InsertUser(ann, "")); err != nil {
				return err
			}
			for n := range 6 {
				ends := at.Add(time.Hour * time.Duration(n))
				if n == 0 {
					ends = at.Add(100 * time.Hour) // the oldest, and it lasts
				}
				r := TokenRow{Token: s4t.Token{ID: s4t.TokenID(fmt.Sprint(n)), Project: lab.ID, Role: s4t.RoleReader, CreatedAt: at, ExpiresAt: &ends}, UserID: ann.ID, Login: n < 5, Source: fmt.Sprint("192.0.2.", n)}
				if err := tx.InsertToken(r, fmt.Sprint(n)); err != nil {
					return err
				}
			}
			return tx.TrimLogins(ann.ID, lab.ID, "1", 2)
		})
		view(t, db, func(tx *Tx) error {
			rows, err := tx.Tokens(TokenFilter{Project: lab.ID}, wire.Page{})
			var ids []string
			for _, r := range rows.Items {
				ids = append(ids, string(r.ID))
			}
			same(t, "what is left", fmt.Sprint(ids), err, "[0 1 4 5]")
			for source, want := range map[string]bool{"192.0.2.0": true, "192.0.2.1": true, "192.0.2.2": false, "192.0.2.5": false, "": false} {
				known, err := tx.LoggedInFrom(ann.ID, source)
				same(t, "a login from "+source, known, err, want)
			}
			q, err := tx.Quota(lab.ID, s4t.QuotaTokens)
			same(t, "tokens that count", q.Used, err, int64(1))
			return nil
		})
	})
}

func TestASecretIsMadeOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		got := make([][]byte, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				err := db.Tx(t.Context(), func(tx *Tx) (err error) {
					got[i], err = tx.Secret("ticket", func() ([]byte, error) {
						b := make([]byte, 32)
						rand.Read(b)
						return b, nil
					})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, b := range got {
			if len(b) != 32 || !bytes.Equal(b, got[0]) {
				t.Errorf("secrets differ: %x, %x", got[0], b)
			}
		}
	})
}
