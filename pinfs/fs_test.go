package pinfs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
)

// limit is when something that should happen counts as not happening.
const limit = 30 * time.Second

// walk lists a tree: paths and what they are.
func walk(t *testing.T, f *FS) (paths []string, inos map[string]fuse.Ino) {
	t.Helper()
	inos = map[string]fuse.Ino{}
	numbers := map[fuse.Ino]string{fuse.Root: ""}
	var in func(ino fuse.Ino, path string)
	in = func(ino fuse.Ino, path string) {
		var entries []fuse.Entry
		for { // in pieces of two, as the kernel would
			n := 0
			if err := f.Readdir(ino, len(entries), func(e fuse.Entry) bool {
				entries, n = append(entries, e), n+1
				return n < 2
			}); err != 0 {
				t.Fatalf("list %q: %v", path, err)
			}
			if n == 0 {
				break
			}
		}
		for _, e := range entries {
			p := strings.TrimPrefix(path+"/"+e.Name, "/")
			if was, twice := numbers[e.Attr.Ino]; twice {
				t.Fatalf("%q has the number of %q", p, was)
			}
			numbers[e.Attr.Ino] = p
			if a, err := f.Lookup(ino, e.Name); err != 0 || a != e.Attr {
				t.Fatalf("look up %q: %+v, %v; listed: %+v", p, a, err, e.Attr)
			}
			if a, err := f.Getattr(e.Attr.Ino); err != 0 || a != e.Attr {
				t.Fatalf("attributes of %q: %+v, %v; listed: %+v", p, a, err, e.Attr)
			}
			inos[p] = e.Attr.Ino
			switch e.Attr.Mode & syscall.S_IFMT {
			case syscall.S_IFDIR:
				paths = append(paths, p+"/")
				in(e.Attr.Ino, p)
			case syscall.S_IFLNK:
				to, err := f.Readlink(e.Attr.Ino)
				if err != 0 || e.Attr.Size != uint64(len(to)) {
					t.Fatalf("link %q: %v, %d bytes, %q", p, err, e.Attr.Size, to)
				}
				paths = append(paths, p+" -> "+to)
			default:
				paths = append(paths, fmt.Sprintf("%s %o", p, e.Attr.Mode&0o777))
			}
		}
	}
	in(fuse.Root, "")
	return paths, inos
}

func TestTree(t *testing.T) {
	relay := labelled(output("gpio/chip0/relay", s4t.PinKeyDirection, s4t.PinKeyLabel, s4t.PinKeyFallback), "gate")
	relay.Guarantee = "kept when lightning-rod dies"
	shut := output("gpio/chip0-b/1")
	shut.Mode, shut.UID, shut.GID = 0o660, 1000, 0
	hot := input("sensor/cpu/temp1", s4t.PinKeyPeriod)
	hot.Mode, hot.Problem = 0o640, "no such device"
	f := newFS(local(shut, relay, hot))
	got, inos := walk(t, f)
	want := []string{
		"by-name/", "by-name/gate -> ../gpio/chip0/relay",
		"gpio/",
		"gpio/chip0-b/", "gpio/chip0-b/1/", "gpio/chip0-b/1/value 660", "gpio/chip0-b/1/unit 444", "gpio/chip0-b/1/kind 444", "gpio/chip0-b/1/at 440", "gpio/chip0-b/1/lease 444", "gpio/chip0-b/1/direction 444",
		"gpio/chip0/", "gpio/chip0/relay/", "gpio/chip0/relay/value 644", "gpio/chip0/relay/unit 444", "gpio/chip0/relay/kind 444", "gpio/chip0/relay/at 444", "gpio/chip0/relay/lease 444", "gpio/chip0/relay/guarantee 444",
		"gpio/chip0/relay/direction 644", "gpio/chip0/relay/label 644", "gpio/chip0/relay/fallback 644",
		"sensor/", "sensor/cpu/", "sensor/cpu/temp1/", "sensor/cpu/temp1/value 440", "sensor/cpu/temp1/unit 444", "sensor/cpu/temp1/kind 444", "sensor/cpu/temp1/at 440", "sensor/cpu/temp1/lease 444", "sensor/cpu/temp1/problem 444",
		"sensor/cpu/temp1/direction 444", "sensor/cpu/temp1/period 640",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if a, _ := f.Getattr(inos["gpio/chip0-b/1/value"]); a.UID != 1000 {
		t.Errorf("owner %d, want 1000", a.UID)
	}
	for _, ino := range inos {
		if ino > 1<<32-1 {
			t.Errorf("%d of a local tree does not fit in 32 bits", ino)
		}
	}
}

func TestTreeOfBoards(t *testing.T) {
	list := fleet(3, 1)
	list[1].Online, list[1].ReportedAt = false, time.Time{}
	f := newFS(newBoards(list...))
	got, inos := walk(t, f)
	var want []string
	for _, b := range list {
		for _, p := range []string{"/", "/by-name/", "/status 444", "/gpio/", "/gpio/gpiochip0/", "/gpio/gpiochip0/0/", "/gpio/gpiochip0/0/value 444", "/gpio/gpiochip0/0/unit 444", "/gpio/gpiochip0/0/kind 444", "/gpio/gpiochip0/0/at 444", "/gpio/gpiochip0/0/lease 444", "/gpio/gpiochip0/0/direction 444"} {
			want = append(want, b.Name+p)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for path, want := range map[string]string{"board-0000/status": "online 2023-11-14T22:13:20Z\n", "board-0001/status": "offline never\n"} {
		if got, _ := f.text(inos[path]); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// What comes from other boards cannot make names that are none, or that are
// twice there.
func TestNamesThatCannotBe(t *testing.T) {
	pins := []Node{input("gpio/c/2"), input("gpio/c/1"), input("gpio/c/1"), input("gpio/../1"), input("x"), input("by-name/a/b"), input("status/a/b"), labelled(input("gpio/c/3"), "a/b"),
		labelled(input("gpio/c/4"), "same"), labelled(input("gpio/c/5"), "same")}
	f := newFS(newBoards(Board{Name: "..", Pins: pins}, Board{Name: ""}, Board{Name: "a/b"}, Board{Name: "ok", Pins: pins}, Board{Name: "ok"}))
	paths, _ := walk(t, f)
	paths = slices.DeleteFunc(paths, func(p string) bool { return !strings.HasSuffix(p, "/") && !strings.Contains(p, "->") })
	want := []string{"ok/", "ok/by-name/", "ok/by-name/same -> ../gpio/c/4", "ok/gpio/", "ok/gpio/c/", "ok/gpio/c/1/", "ok/gpio/c/2/", "ok/gpio/c/4/", "ok/gpio/c/5/"}
	if !slices.Equal(paths, want) {
		t.Errorf("got %q, want %q", paths, want)
	}
}

// told is a kernel that notes what it is told to forget.
type told []string

func (k *told) InvalidateEntry(parent fuse.Ino, name string) {
	*k = append(*k, fmt.Sprint(parent, name))
}
func (k *told) InvalidateInode(ino fuse.Ino) { *k = append(*k, fmt.Sprint(ino)) }

// What stays keeps its number; of names that came and went, and of modes, the
// kernel is told, and of nothing else.
func TestChanges(t *testing.T) {
	a, b, c := input("gpio/c/1", s4t.PinKeyDirection, s4t.PinKeyEdge), labelled(input("gpio/c/2"), "two"), input("gpio/d/1")
	for _, test := range []struct {
		name   string
		now    []Board
		gone   []string // paths
		forget []string // paths, ! where attributes are meant
	}{
		{"nothing", []Board{{Name: "x", Pins: []Node{a, b, c}}, {Name: "y"}}, nil, nil},
		{"online", []Board{{Name: "x", Online: true, Pins: []Node{a, b, c}}, {Name: "y"}}, nil, nil},
		{"a pin comes", []Board{{Name: "x", Pins: []Node{input("adc/0/0"), a, b, c}}, {Name: "y"}}, nil, []string{"x/adc"}},
		{"a board comes", []Board{{Name: "w"}, {Name: "x", Pins: []Node{a, b, c}}, {Name: "y"}}, nil, []string{"w"}},
		{"a setting comes", []Board{{Name: "x", Pins: []Node{a, labelled(input("gpio/c/2", s4t.PinKeyEdge), "two"), c}}, {Name: "y"}}, nil, []string{"x/gpio/c/2/edge"}},
		{"a pin goes", []Board{{Name: "x", Pins: []Node{a, b}}, {Name: "y"}}, []string{"x/gpio/d"}, []string{"x/gpio/d"}},
		{"all pins go", []Board{{Name: "x"}, {Name: "y"}}, []string{"x/gpio", "x/by-name/two"}, []string{"x/gpio", "x/by-name/two"}},
		{"a board goes", []Board{{Name: "y"}}, []string{"x"}, []string{"x"}},
		{"a label moves", []Board{{Name: "x", Pins: []Node{labelled(a, "two"), input("gpio/c/2"), c}}, {Name: "y"}}, []string{"x/by-name/two"}, []string{"x/by-name/two", "x/by-name/two"}},
		{"an output", []Board{{Name: "x", Pins: []Node{output("gpio/c/1", s4t.PinKeyDirection), b, c}}, {Name: "y"}}, []string{"x/gpio/c/1/edge"}, []string{"!x/gpio/c/1/value", "x/gpio/c/1/edge"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := newBoards(Board{Name: "x", Pins: []Node{a, b, c}}, Board{Name: "y"})
			f := newFS(src)
			_, before := walk(t, f)
			var kernel told
			f.kernel = &kernel
			src.show(test.now...)
			f.follow()
			_, after := walk(t, f)
			for path, ino := range before {
				gone := slices.ContainsFunc(test.gone, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
				if is, there := after[path]; !gone && is != ino {
					t.Errorf("%s was %d, is %d %v", path, ino, is, there)
				} else if gone && is == ino {
					t.Errorf("%s is still %d", path, ino)
				}
			}
			before[""] = fuse.Root
			var want told
			for _, path := range test.forget {
				if attr, ok := strings.CutPrefix(path, "!"); ok {
					want.InvalidateInode(before[attr])
				} else {
					i := max(strings.LastIndexByte(path, '/'), 0)
					want.InvalidateEntry(before[path[:i]], strings.TrimPrefix(path[i:], "/"))
				}
			}
			if !reflect.DeepEqual(kernel, want) {
				t.Errorf("told to forget %q, want %q", kernel, want)
			}
		})
	}
}

// A listing of boards that takes many calls shows each board that stays once.
func TestListingWhileBoardsGo(t *testing.T) {
	list := fleet(10, 0)
	src := newBoards(list...)
	f := newFS(src)
	var got []string
	for first := true; ; first = false {
		n := 0
		f.Readdir(fuse.Root, len(got), func(e fuse.Entry) bool {
			got, n = append(got, e.Name), n+1
			return n < 3
		})
		if n == 0 {
			break
		}
		if first {
			src.show(list[1:9]...)
			f.follow()
		}
	}
	if slices.Contains(got, list[9].Name) {
		t.Errorf("%s has gone before it was listed: %q", list[9].Name, got)
	}
	for _, b := range list[1:9] {
		if i := slices.Index(got, b.Name); i < 0 || slices.Contains(got[i+1:], b.Name) {
			t.Errorf("%s: not once in %q", b.Name, got)
		}
	}
}

func TestErrno(t *testing.T) {
	for kind, want := range map[s4t.Kind][2]syscall.Errno{ // local, remote
		s4t.Invalid:         {syscall.EINVAL, syscall.EINVAL},
		s4t.Forbidden:       {syscall.EACCES, syscall.EACCES},
		s4t.Unauthenticated: {syscall.EACCES, syscall.EACCES},
		s4t.Conflict:        {syscall.EBUSY, syscall.EBUSY},
		s4t.Stale:           {syscall.ESTALE, syscall.ESTALE},
		s4t.Offline:         {syscall.EHOSTUNREACH, syscall.EHOSTUNREACH},
		s4t.Unavailable:     {syscall.EHOSTUNREACH, syscall.EHOSTUNREACH},
		s4t.NotFound:        {syscall.ENODEV, syscall.ENODEV},
		s4t.Timeout:         {syscall.ETIMEDOUT, syscall.EHOSTUNREACH},
		s4t.TooMany:         {syscall.ENOBUFS, syscall.ENOBUFS},
		s4t.Internal:        {syscall.EIO, syscall.EIO},
	} {
		err := s4t.Errorf(kind, "", "", "a test")
		if l, r := errno(err, false), errno(err, true); l != want[0] || r != want[1] {
			t.Errorf("%s: %v, %v; want %v, %v", kind, l, r, want[0], want[1])
		}
	}
}
