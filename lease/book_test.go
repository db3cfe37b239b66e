package lease

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// bookAt is a book of a board that was heard when its machine had run for an hour.
func bookAt() *Book {
	return &Book{Number: 7, Told: Told{noon, Moment{"boot", time.Hour}}, Tree: Tree{
		{Project: "owner"},
		{Lease: "l", Name: "night", Project: "lab", Window: span(-10, 10), Allow: Set{SSH, Bridge}},
		{Lease: "s", Name: "part", Parent: "l", Project: "guest", Window: span(-10, 10), Allow: Set{SSH, Pins}},
		{Lease: "next", Name: "next", Project: "next", Window: span(10, 20), Allow: All()},
	}}
}

func after(d time.Duration) Moment { return Moment{"boot", time.Hour + d} }

func TestABoardDecidesByItsBook(t *testing.T) {
	for _, tt := range []struct {
		name    string
		project s4t.ProjectID
		lease   s4t.LeaseID
		action  Action
		at      Moment
		may     bool
	}{
		{"the owner", "owner", "", Plugins, after(0), true},
		{"the owner after a boot", "owner", "", Plugins, Moment{"another", time.Second}, true},
		{"nobody said who: the owner", "", "", SSH, after(0), true},
		{"who has it", "lab", "l", SSH, after(0), true},
		{"by the lease alone", "", "l", Bridge, after(0), true},
		{"by the project alone", "lab", "", Bridge, after(0), true},
		{"what it does not allow", "lab", "l", Plugins, after(0), false},
		{"by a share", "guest", "s", SSH, after(0), true},
		{"what is not passed on", "guest", "s", Pins, after(0), false},
		{"at the last instant", "lab", "l", SSH, after(10*time.Minute - 1), true},
		{"at the end", "lab", "l", SSH, after(10 * time.Minute), false},
		{"a share at the end of what it is of", "guest", "s", SSH, after(10 * time.Minute), false},
		{"who comes next, too early", "next", "next", SSH, after(10*time.Minute - 1), false},
		{"who comes next", "next", "next", SSH, after(10 * time.Minute), true},
		{"after a boot", "lab", "l", SSH, Moment{"another", time.Second}, false},
		{"before it was heard", "lab", "l", SSH, after(-time.Second), false},
		{"a stranger", "other", "", SSH, after(0), false},
		{"a stranger with the lease of another", "other", "l", SSH, after(0), false},
		{"a lease that nobody has", "", "gone", SSH, after(0), false},
	} {
		by, err := bookAt().May("open it", tt.project, tt.lease, tt.action, tt.at)
		if (err == nil) != tt.may || err != nil && s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("%s: by %+v, %v", tt.name, by, err)
		}
	}
}

func TestWhatWasKeptBackGivesNoTime(t *testing.T) {
	b := bookAt()
	late := b.Told.Later(Told{noon.Add(time.Second), after(time.Minute)})
	if now, ok := late.Now(after(2 * time.Minute)); !ok || !now.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("it is %v, %v", now, ok)
	}
	ahead := b.Told.Later(Told{noon.Add(time.Hour), after(time.Minute)})
	if now, _ := ahead.Now(after(2 * time.Minute)); !now.Equal(noon.Add(time.Hour + time.Minute)) {
		t.Errorf("it is %v", now)
	}
	fresh := b.Told.Later(Told{noon.Add(-time.Hour), Moment{"another", time.Second}})
	if now, ok := fresh.Now(Moment{"another", 2 * time.Second}); !ok || !now.Equal(noon.Add(-time.Hour+time.Second)) {
		t.Errorf("after a boot it is %v, %v", now, ok)
	}
}

func TestTheNextEdge(t *testing.T) {
	tree := bookAt().Tree
	if got := tree.Next(noon); !got.Equal(noon.Add(10 * time.Minute)) {
		t.Errorf("the next edge is at %v", got)
	}
	if got := tree.Next(noon.Add(20 * time.Minute)); !got.IsZero() {
		t.Errorf("after the last there is one at %v", got)
	}
	if !tree.Lasts("s", noon) || tree.Lasts("s", noon.Add(10*time.Minute)) || tree.Lasts("gone", noon) {
		t.Error("a lease lasts for its window, and one that is not there does not")
	}
}

// BenchmarkMay is what a board pays for each stream, pin order and command.
func BenchmarkMay(b *testing.B) {
	book := bookAt()
	for i := range 64 {
		book.Tree = append(book.Tree, Holding{Lease: s4t.LeaseID(rune('A' + i)), Project: "other", Window: span(20, 30), Allow: All()})
	}
	for b.Loop() {
		if _, err := book.May("open it", "guest", "s", SSH, after(0)); err != nil {
			b.Fatal(err)
		}
	}
}
