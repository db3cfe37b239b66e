package store

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stack4things/s4t"
)

func TestWhomBoardsTrust(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		project := newProject("lab")
		write(t, db, func(tx *Tx) error { return tx.InsertProject(project) })
		for _, b := range []Board{
			{Board: s4t.Board{Name: "never-joined"}},
			{Board: s4t.Board{Name: "old"}, PublicKey: make([]byte, 32)},
			{Board: s4t.Board{Name: "new", Info: s4t.BoardInfo{Trusts: []string{"aa", "system"}}}, PublicKey: make([]byte, 32)},
		} {
			b.ID, b.Project = s4t.BoardID(s4t.NewID()), project.ID
			write(t, db, func(tx *Tx) error { return errors.Join(tx.InsertBoard(b), tx.SetBoardKey(b), tx.SetBoardSays(b)) })
		}
		write(t, db, func(tx *Tx) error {
			boards, err := tx.BoardTrusts()
			if err != nil {
				return err
			}
			if len(boards) != 2 || boards[0].Name != "new" || !slices.Equal(boards[0].Trusts, []string{"aa", "system"}) || boards[1].Trusts != nil {
				t.Errorf("boards %+v", boards)
			}
			if c, err := tx.Certificate(); err != nil || c.Shown != "" {
				t.Errorf("before the first start: %+v, %v", c, err)
			}
			for _, want := range []Certificate{{Shown: "aa", Next: []string{"system", "bb"}}, {Shown: "system"}} {
				if err := tx.SetCertificate(want); err != nil {
					return err
				}
				if c, err := tx.Certificate(); err != nil || c.Shown != want.Shown || !slices.Equal(c.Next, want.Next) {
					t.Errorf("got %+v, %v; want %+v", c, err, want)
				}
			}
			return nil
		})
	})
}

func TestADatabaseIsReadWhileAnotherProcessHasIt(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "s4t.db")
	if _, err := OpenToRead(t.Context(), url); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("before the first start: %v", err)
	}
	empty := newDB(Config{})
	if err := empty.open(url); err != nil {
		t.Fatal(err)
	}
	if _, err := empty.write.Exec(`CREATE TABLE t (x)`); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenToRead(t.Context(), url); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("of another version: %v", err)
	}
	empty.Close()
	db, err := Open(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	read, err := OpenToRead(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := read.View(t.Context(), func(tx *Tx) error { _, err := tx.BoardTrusts(); return err }); err != nil {
		t.Error(err)
	}
}
