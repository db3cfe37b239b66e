package hal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

func TestTheIOConfig(t *testing.T) {
	text := `
[defaults]
period = "2s"
fallback = "low"

[[pin]]
name = "fake/*/*"
mode = "0640"
owner = "root"
group = "1234"
cloud = "read"

[[pin]]
name = "fake/a/t"
label = "oven"
threshold = 20
deadband = 0.5
scale = 2
cloud = "none"

[[pin]]
name = "fake/a/secret"
hide = true

[[sim]]
pin = "load"
wave = "sine"
low = -1
high = 2.5
unit = "A"
period = "10ms"
`
	h, err := New(Config{File: ioConfig(t, text), Drivers: []Driver{&fakeDriver{lines: []*fakeLine{
		fakeSensor("fake/a/t", 0), fakeSensor("fake/a/secret", 0), fakeOutput("fake/b/out")}}}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range h.Pins() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"fake/a/t", "fake/b/out", "sim/demo/load"}) {
		t.Errorf("pins %q", names)
	}
	i := pin(t, h, "oven").Info()
	for k, want := range map[string]string{"period": "2s", "threshold": "20", "deadband": "0.5", "scale": "2", "label": "oven"} {
		if i.Settings[k] != want {
			t.Errorf("%s is %q, not %q", k, i.Settings[k], want)
		}
	}
	if i.Driver != "fake" || i.Device != "a" || i.PeriodMS != 2000 || slices.Contains(i.Keys, "fallback") || i.Value != nil || i.Writable {
		t.Errorf("%+v", i)
	}
	if o := pin(t, h, "fake/b/out").Info(); o.Settings["fallback"] != "low" || o.Settings["period"] != "0s" || !o.Writable {
		t.Errorf("%+v", o)
	}
	if mode, uid, gid := h.Access("fake/b/out"); mode != 0o640 || uid != 0 || gid != 1234 {
		t.Errorf("mode %o, owner %d, group %d", mode, uid, gid)
	}
	for name, want := range map[string]string{"fake/a/t": "none", "oven": "none", "fake/b/out": "read", "sim/demo/load": "write"} {
		if got := h.Cloud(name); got != want {
			t.Errorf("cloud of %s is %s, not %s", name, got, want)
		}
	}
	if l := pin(t, h, "sim/demo/load").Info(); l.Unit != "A" || l.PeriodMS != 10 || l.Kind != s4t.PinAnalog {
		t.Errorf("%+v", l)
	}
}

func TestAMistakeInTheIOConfigHasItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"[[pin]]\nname = \"a/b/c\"\ncolour = 1\n":                            "line 3",
		"[[pin]]\nname = \"a/b/c\"\nperiod = \"10\"\n":                       "line 3",
		"[[pin]]\nname = \"a/b/c\"\n\nedge = \"up\"\n":                       "line 4",
		"[[pin]]\nname = \"a/b/c\"\nmode = \"0777\"\n":                       "line 3",
		"[[pin]]\nname = \"a/b/c\"\nowner = \"nobody-of-that-name\"\n":       "line 3",
		"[[pin]]\nname = \"a/b/c\"\ncloud = \"all\"\n":                       "line 3",
		"[[pin]]\nname = \"a/b/c\"\nscale = 0\n":                             "line 3",
		"[[pin]]\nname = \"a/b/c\"\nvalue = \"much\"\n":                      "line 3",
		"[[pin]]\nname = \"[\"\n":                                            "line 2",
		"[[pin]]\nlabel = \"x\"\n":                                           "[[pin]] 1",
		"[defaults]\nperiod = \"1us\"\n":                                     "line 2",
		"[[sim]]\nwave = \"saw\"\n":                                          "[[sim]] 1",
		"[[sim]]\nwave = \"sine\"\nlow = 2\nhigh = 1\n":                      "[[sim]] 1",
		"[[sim]]\nwave = \"sine\"\nlow = nan\n":                              "[[sim]] 1",
		"[[sim]]\nwave = \"csv\"\n":                                          "[[sim]] 1",
		"[[sim]]\nwave = \"csv\"\nfile = \"/does/not/exist\"\n":              "/does/not/exist",
		"[[sim]]\nwave = \"input\"\nloop = \"out\"\n":                        "[[sim]] 1",
		"[[sim]]\nwave = \"sine\"\n[[sim]]\nwave = \"sine\"\n":               "[[sim]] 2",
		"[[sim]]\nwave = \"sine\"\npin = \"a b\"\n":                          "[[sim]] 1",
		"[[sim]]\nwave = \"sine\"\nkind = \"wobbly\"\n":                      "[[sim]] 1",
		"[[pin]]\nname = \"a\"\n":                                            "line 2",
		"[[pin]]\nname = \"\"\n":                                             "line 2",
		"[[pin]]\nname = \"a/b/c/d\"\n":                                      "line 2",
		"[[pin]]\nname = \"a/b c/*\"\n":                                      "line 2",
		"[[sim]]\nwave = \"sine\"\ncycle = \"0s\"\n":                         "[[sim]] 1",
		"[[sim]]\nwave = \"sine\"\nperiod = \"0\"\n":                         "[[sim]] 1",
		"[[pin]]\nname = \"a/b/c\"\nscale = 0\ncloud = \"read\"\n":           "other than 0",
		"[[pin]]\nname = \"a/b/c\"\ndeadband = -1\ncloud = \"read\"\n":       "write 0, or",
		"\n[[pin]]\nlabel = \"x\"\n":                                         "line 2",
		"[[sim]]\nwave = \"sine\"\n[[sim]]\nwave = \"saw\"\n":                "line 3",
		"# a comment\n[[sim]]\nwave = \"input\"\nloop = \"out\"\n":           "line 2",
		"# a comment\n[[sim]]\nwave = \"csv\"\nfile = \"/does/not/exist\"\n": "line 2",
		"[[sim]\n": "line 1",
	} {
		_, err := New(Config{File: ioConfig(t, text), Drivers: []Driver{}})
		if s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, err := New(Config{File: filepath.Join(t.TempDir(), "none")})
	wantKind(t, err, s4t.Invalid)
}

// TestWhatAPinCannotDoIsToldAndNotDone: it is a problem of the board's I/O.
func TestWhatAPinCannotDoIsToldAndNotDone(t *testing.T) {
	out := fakeOutput("fake/a/out")
	h, _, _ := start(t, Config{File: ioConfig(t, "[[pin]]\nname = \"fake/*/*\"\nvalue = 2\nedge = \"both\"\n")}, out)
	if _, err := pin(t, h, "fake/a/out").Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, written := out.now(); len(written) != 0 {
		t.Errorf("driven: %v", written)
	}
	if p := h.Problems(); len(p) != 2 || !strings.Contains(p[0], "no value of a digital pin") || !strings.Contains(p[1], "no edges") {
		t.Errorf("problems %q", p)
	}
}

// TestALaterRuleGivesAPinBackToRoot: by name and by number.
func TestALaterRuleGivesAPinBackToRoot(t *testing.T) {
	text := "[[pin]]\nname = \"fake/*/*\"\nowner = \"12\"\ngroup = \"34\"\n[[pin]]\nname = \"fake/a/t\"\nowner = \"root\"\ngroup = \"0\"\n"
	h, err := New(Config{File: ioConfig(t, text), Drivers: []Driver{&fakeDriver{lines: []*fakeLine{fakeSensor("fake/a/t", 0), fakeSensor("fake/a/u", 0)}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, uid, gid := h.Access("fake/a/u"); uid != 12 || gid != 34 {
		t.Errorf("owner %d, group %d", uid, gid)
	}
	if _, uid, gid := h.Access("fake/a/t"); uid != 0 || gid != 0 {
		t.Errorf("owner %d, group %d, not root's", uid, gid)
	}
}

func TestARecordingIsPlayed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "day.csv")
	os.WriteFile(file, []byte("time,value\n0,20\n1.5, 21\n3,19.5\n"), 0o600)
	list, err := readRecording(file)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]float64{0: 20, time.Second: 20, 1500 * time.Millisecond: 21, time.Hour: 19.5} {
		if got := valueAt(list, at); got != want {
			t.Errorf("at %v it is %v, not %v", at, got, want)
		}
	}
	for _, bad := range []string{"", "time,value\n", "1,2\n0,1\n", "0,NaN\n", "0,1,2\n", "0,1\nx,2\n", "-1,2\n", "1e300,2\n", "nan,1\n"} {
		if _, err := parseRecording([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestOnlyARegularFileIsRead: a pipe without a writer and a device would be waited for.
func TestOnlyARegularFileIsRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{pipe, "/dev/zero", t.TempDir()} {
		text := "[[sim]]\nwave = \"csv\"\nfile = \"" + file + "\"\n"
		for _, c := range []Config{{File: ioConfig(t, text)}, {File: file}} {
			c.Drivers = []Driver{}
			if _, err := New(c); s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), "no regular file") || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestARecordingWithAByteOrderMark(t *testing.T) {
	for _, text := range []string{"\ufefftime,value\n0,1\n", "\ufeff0,1\n"} {
		if list, err := parseRecording([]byte(text)); err != nil || len(list) != 1 || list[0].value != 1 {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}

func TestWaves(t *testing.T) {
	for _, wave := range []string{waveSine, waveRamp, waveStep, waveNoise} {
		list := []simPin{{Wave: wave, Low: new(-2.), High: new(3.), Cycle: "20ms"}}
		if err := checkWaves("", list); err != nil {
			t.Fatal(err)
		}
		s, err := newSim(list)
		if err != nil {
			t.Fatal(err)
		}
		low, high := 10., -10.
		for i := range 1000 {
			s.start = time.Now().Add(-time.Duration(i) * 20 * time.Microsecond)
			v, err := s.pins[0].Read()
			if err != nil || v < -2 || v > 3 {
				t.Fatalf("%s: %v, %v", wave, v, err)
			}
			low, high = min(low, v), max(high, v)
		}
		if low > -1.5 || high < 2.5 {
			t.Errorf("%s goes from %v to %v", wave, low, high)
		}
	}
}
