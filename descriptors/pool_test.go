package descriptors

import (
	"os"
	"testing"
)

func TestAShareIsAShare(t *testing.T) {
	p := New(3, 0)
	two, ok := p.Acquire(2)
	if !ok {
		t.Fatal("2 of 3 were refused")
	}
	if _, ok := p.Acquire(2); ok {
		t.Error("4 of 3 were given")
	}
	one, ok := p.Acquire(1)
	if !ok || p.Used() != 3 {
		t.Errorf("the last was given: %v; %d are held", ok, p.Used())
	}
	two()
	two()
	one()
	if p.Used() != 0 {
		t.Errorf("%d are held after all were given back", p.Used())
	}
}

func TestWhatIsAboveTheMarkIsLeftToOthers(t *testing.T) {
	p := New(0, lowest()+8)
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	for range 8 { // others' descriptors, that nobody counts
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, f)
	}
	if _, ok := p.Acquire(1); ok {
		t.Error("one was given above the mark")
	}
	open[0].Close()
	open[1].Close()
	if release, ok := p.Acquire(1); !ok {
		t.Error("none was given although two became free")
	} else {
		release()
	}
}

func TestNoPoolRefusesNobody(t *testing.T) {
	var p *Pool
	release, ok := p.Acquire(1000)
	if !ok || p.Used() != 0 {
		t.Error("a nil pool refused")
	}
	release()
}

func TestTheLimitIsRaised(t *testing.T) {
	if n := Raise(); n < 20 {
		t.Errorf("the limit is %d", n)
	}
}
