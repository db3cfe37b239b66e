package samples

import (
	"testing"

	"github.com/stack4things/s4t"
)

func TestNothingIsLostWhileTheReaderIsFast(t *testing.T) {
	q := NewQueue(10)
	for i := range uint64(100) {
		q.Put(s4t.Sample{Pin: "a", Seq: i})
		<-q.Ready()
		if got := q.Take(10); len(got) != 1 || got[0].Seq != i || got[0].Merged != 0 {
			t.Fatalf("sample %d: %+v", i, got)
		}
	}
}

// TestTheNewestOfEachPinWins: of what a slow reader does not get the newest of each
// pin is there, and the counts say what was merged: none is forgotten.
func TestTheNewestOfEachPinWins(t *testing.T) {
	q := NewQueue(8)
	for i := range uint64(1000) {
		q.Put(s4t.Sample{Pin: "a", Seq: i}, s4t.Sample{Pin: "b", Seq: i})
	}
	got := map[string]uint64{}
	last := map[string]uint64{}
	for list := q.Take(3); len(list) > 0; list = q.Take(3) {
		for _, s := range list {
			got[s.Pin] += 1 + s.Merged
			if s.Seq < last[s.Pin] {
				t.Errorf("%s: %d came after %d", s.Pin, s.Seq, last[s.Pin])
			}
			last[s.Pin] = s.Seq
		}
	}
	for _, pin := range []string{"a", "b"} {
		if got[pin] != 1000 || last[pin] != 999 {
			t.Errorf("%s: %d samples are told of, the last is %d", pin, got[pin], last[pin])
		}
	}
	if len(last) != 2 {
		t.Errorf("pins %v", last)
	}
}
