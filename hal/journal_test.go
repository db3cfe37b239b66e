package hal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

// fileLine is an output that is a file, as one of sysfs.
type fileLine struct {
	*fakeLine
	file string
}

func (l *fileLine) open() (Line, error) { return l, nil }

func (l *fileLine) Write(v float64) error {
	return os.WriteFile(l.file, []byte(s4t.FormatPinValue(v)), 0o600)
}

func (l *fileLine) Read() (float64, error) {
	text, err := os.ReadFile(l.file)
	if err != nil {
		return 0, err
	}
	return s4t.ParsePinValue(string(text))
}

type fileDriver struct{ line *fileLine }

func (d fileDriver) Name() string { return "fake" }

func (d fileDriver) Scan(context.Context) ([]Found, error) {
	return []Found{{Pin: d.line.pin, Open: d.line.open}}, nil
}

// onFile is the configuration of a board whose pin fake/a/out is the file out in dir.
func onFile(dir string) Config {
	line := &fileLine{fakeLine: fakeOutput("fake/a/out"), file: filepath.Join(dir, "out")}
	line.guard = line.file
	return Config{State: dir, Drivers: []Driver{fileDriver{line}}, Guard: func() *exec.Cmd { return exec.Command(os.Args[0], "pin-guard") }}
}

// board is a process that runs a HAL, does what its standard input says and answers a line each.
func board(dir string) {
	h, err := New(onFile(dir))
	if err != nil {
		panic(err)
	}
	h.uevents = noUevents
	go h.Run(context.Background())
	p, _ := h.Pin("fake/a/out")
	for {
		var do string
		var n int64
		if _, err := fmt.Scanln(&do, &n); err != nil {
			select {} // until it is killed
		}
		switch do {
		case "write":
			err = p.Write(context.Background(), Order{Value: float64(n), Holder: "a"})
		case "for":
			err = p.Write(context.Background(), Order{Value: float64(n), Holder: "a", For: time.Hour, Tag: "op"})
		case "claim":
			err = p.Claim(context.Background(), Claim{Holder: "a", Fence: n, For: time.Hour})
		case "fallback":
			err = p.Set(context.Background(), map[string]string{"fallback": []string{"low", "high"}[n]})
		case "guarded": // the guard has been told
			for !h.guarding.Load() {
				time.Sleep(time.Millisecond)
			}
		case "saved": // what is kept without anybody waiting for it is kept
			h.save()
		}
		fmt.Println(err)
	}
}

// killed runs a board, has it do orders, and kills it.
func killed(t *testing.T, dir string, orders ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "pin-board", dir)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, o := range orders {
		fmt.Fprintln(in, o)
		var answer string
		if _, err := fmt.Fscanln(out, &answer); err != nil || answer != "<nil>" {
			t.Errorf("%s: %s, %v", o, answer, err)
		}
	}
	cmd.Process.Kill()
	cmd.Wait() // it was killed
}

// becomes waits until a file has a text.
func becomes(t *testing.T, file, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(file)
		if string(text) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s holds %q, not %q", filepath.Base(file), text, want)
		}
	}
}

func newBoard(t *testing.T) (dir, out string) {
	dir = t.TempDir()
	out = filepath.Join(dir, "out")
	if err := os.WriteFile(out, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, out
}

// TestAKilledBoardRemembersItsFencesAndClaims: an answered claim is on disk.
func TestAKilledBoardRemembersItsFencesAndClaims(t *testing.T) {
	dir, _ := newBoard(t)
	killed(t, dir, "claim 41", "claim 42")
	h, err := New(onFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	p := pin(t, h, "fake/a/out")
	wantKind(t, p.Claim(t.Context(), Claim{Holder: "b", Priority: 9, Fence: 41}), s4t.Stale)
	wantKind(t, p.Write(t.Context(), Order{Value: 1, Holder: "b"}), s4t.Conflict)
	if err := p.Write(t.Context(), Order{Value: 1, Holder: "a", Fence: 42}); err != nil {
		t.Error(err)
	}
	if left := time.Until(p.Lease().Until); left > time.Hour || left < 30*time.Minute {
		t.Errorf("%v of an hour are left", left)
	}
}

func TestAKilledBoardDrivesWhatItDroveAndGoesBack(t *testing.T) {
	dir, out := newBoard(t)
	killed(t, dir, "write 1", "saved 0")
	os.WriteFile(out, []byte("0"), 0o600) // the level fell while nobody held it
	killed(t, dir, "for 0")               // it drives 1 first
	h, err := New(onFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	p := pin(t, h, "fake/a/out")
	if l := p.Lease(); l == nil || l.Until.Before(time.Now()) {
		t.Fatalf("the pending value is forgotten: %+v", l)
	}
	if err := p.Release(t.Context(), "a", 0); err != nil {
		t.Fatal(err)
	}
	becomes(t, out, "1")
	if e := h.Ended(); len(e) != 1 || e[0].Tag != "op" {
		t.Errorf("ended %+v", e)
	}
}

// seeingLine is an output that looks at the journal when it is written.
type seeingLine struct {
	*fakeLine
	see func(v float64)
}

func (l *seeingLine) Write(v float64) error {
	l.see(v)
	return l.fakeLine.Write(v)
}

type seeingDriver struct{ line *seeingLine }

func (d seeingDriver) Name() string { return "fake" }

func (d seeingDriver) Scan(context.Context) ([]Found, error) {
	return []Found{{Pin: d.line.pin, Open: func() (Line, error) { return d.line, nil }}}, nil
}

// onDisk is what a restart would find of fake/a/out.
func onDisk(t *testing.T, dir string) kept {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, journalFile))
	if err != nil {
		return kept{}
	}
	b, err := parseJournal(text)
	if err != nil {
		t.Error(err)
	}
	return b.Pins["fake/a/out"]
}

// TestAValueForATimeIsOnTheDiskBeforeItActs: also a newer one, and what ends one.
func TestAValueForATimeIsOnTheDiskBeforeItActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var found []kept
		line := &seeingLine{fakeOutput("fake/a/out"), func(float64) { found = append(found, onDisk(t, dir)) }}
		h, err := New(Config{State: dir, Drivers: []Driver{seeingDriver{line}}})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, h)()
		p := pin(t, h, "fake/a/out")
		write := func(o Order) kept {
			o.Holder = "a"
			if err := p.Write(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			return found[len(found)-1]
		}
		write(Order{Value: 0})
		synctest.Wait() // the pause of the journal begins
		var until int64
		for _, tag := range []string{"first", "second"} {
			k := write(Order{Value: 1, For: time.Minute, Tag: tag})
			if k.Act == nil || k.Act.Tag != tag || k.Act.Before == nil || *k.Act.Before != 0 || k.Output == nil || *k.Output != 1 || k.Act.Until <= until {
				t.Fatalf("%s: on the disk is %+v, %+v", tag, k, k.Act)
			}
			until = k.Act.Until
			time.Sleep(time.Second)
		}
		if k := write(Order{Value: 1}); k.Act != nil || *k.Output != 1 {
			t.Errorf("a value that stays: on the disk is %+v", k)
		}
		write(Order{Value: 0, For: time.Minute})
		if err := p.Release(t.Context(), "a", 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if k := onDisk(t, dir); k.Act != nil || *k.Output != 1 {
			t.Errorf("after the release: on the disk is %+v", k)
		}
		line.fail(errTest)
		if p.Write(t.Context(), Order{Value: 0, For: time.Minute, Holder: "a"}) == nil {
			t.Error("it was written")
		}
		synctest.Wait()
		if k := onDisk(t, dir); k.Act != nil || *k.Output != 1 {
			t.Errorf("after a write that failed: on the disk is %+v", k)
		}
	})
}

// TestAKilledBoardGoesBackWhenTheTimeIsOver: at the next start, and that is told.
func TestAKilledBoardGoesBackWhenTheTimeIsOver(t *testing.T) {
	dir, out := newBoard(t)
	killed(t, dir, "write 0", "for 1")
	becomes(t, out, "1")
	h, err := newHAL(onFile(dir), time.Now, func() (string, time.Duration) {
		id, since := bootTime()
		return id, since + 2*time.Hour
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	becomes(t, out, "0")
	if e := h.Ended(); len(e) != 1 || e[0].Tag != "op" || e[0].Outcome != Over {
		t.Errorf("ended %+v", e)
	}
}

// TestAfterARestartOfTheBoardNobodyHasAPin: its clock may say anything.
func TestAfterARestartOfTheBoardNobodyHasAPin(t *testing.T) {
	dir, out := newBoard(t)
	killed(t, dir, "write 1", "claim 7", "for 0", "saved 0")
	h, err := newHAL(onFile(dir), time.Now, func() (string, time.Duration) { return "another boot", time.Minute })
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	p := pin(t, h, "fake/a/out")
	if p.Lease() != nil {
		t.Errorf("%+v has it", p.Lease())
	}
	becomes(t, out, "1") // the value before
	wantKind(t, p.Claim(t.Context(), Claim{Holder: "b", Fence: 7}), s4t.Stale)
	var got []string
	for _, e := range h.Ended() {
		got = append(got, e.Outcome+" "+e.Tag)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"failed ", "failed op"}) {
		t.Errorf("ended %q", got)
	}
}

func TestTheGuardLetsPinsFallBackWhenTheBoardIsKilled(t *testing.T) {
	dir, out := newBoard(t)
	killed(t, dir, "write 0", "fallback 1", "guarded 0")
	becomes(t, out, "1")
}

func TestOutputsFallBackAtTheEnd(t *testing.T) {
	dir, out := newBoard(t)
	c := onFile(dir)
	c.File = ioConfig(t, "[[pin]]\nname = \"fake/*/*\"\nfallback = \"high\"\nvalue = \"off\"\n")
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, h)
	if err := pin(t, h, "fake/a/out").Write(t.Context(), Order{Value: 0}); err != nil {
		t.Fatal(err)
	}
	stop()
	becomes(t, out, "1")
}

func TestSettingsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := ioConfig(t, "[[pin]]\nname = \"fake/a/t\"\nperiod = \"5s\"\nlabel = \"oven\"\n")
		h, _, stop := start(t, Config{State: dir, File: file}, fakeSensor("fake/a/t", time.Second))
		p := pin(t, h, "oven")
		if ms := p.Info().PeriodMS; ms != 5000 {
			t.Errorf("the io-config's period is %v ms", ms)
		}
		if err := p.Set(t.Context(), map[string]string{"period": "2s"}); err != nil {
			t.Fatal(err)
		}
		stop()
		h, _, stop = start(t, Config{State: dir, File: file}, fakeSensor("fake/a/t", time.Second))
		defer stop()
		if info := pin(t, h, "oven").Info(); info.PeriodMS != 2000 {
			t.Errorf("what was set is lost: %+v", info)
		}
	})
}

func TestADamagedJournalIsBegunAnew(t *testing.T) {
	dir, _ := newBoard(t)
	killed(t, dir, "claim 7")
	file := filepath.Join(dir, journalFile)
	text, _ := os.ReadFile(file)
	text[len(text)/2] ^= 4
	os.WriteFile(file, text, 0o600)
	h, err := New(onFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	if p := h.Problems(); len(p) != 1 || !strings.Contains(p[0], "damaged") {
		t.Errorf("problems %q", p)
	}
	if err := pin(t, h, "fake/a/out").Claim(t.Context(), Claim{Holder: "b", Fence: 1}); err != nil {
		t.Error(err)
	}
}

func TestADirectoryThatCannotBeWrittenIsTold(t *testing.T) {
	h, _, _ := start(t, Config{State: filepath.Join(t.TempDir(), "none")}, fakeOutput("fake/a/out"))
	p := pin(t, h, "fake/a/out")
	if err := p.Claim(t.Context(), Claim{Holder: "a", Fence: 1}); err != nil {
		t.Error(err)
	}
	if problems := h.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "cannot be kept") {
		t.Errorf("problems %q", problems)
	}
}
