package pinfs

import (
	"strconv"
	"testing"
	"time"

	"github.com/stack4things/s4t/fuse"
)

// Poll wakes for each sample that the file has not read.
func TestPoll(t *testing.T) {
	src := local(input("gpio/c/1"), output("gpio/c/2"))
	dir, s := mounted(t, src)
	p := src.pin("", "gpio/c/1")
	a, b := newAgent(t), newAgent(t)
	path := dir + "/gpio/c/1/value"
	a.does("ok", "open", "v", path, "O_RDONLY")
	b.does("ok", "open", "v", path, "O_RDONLY")
	if p.watchers() != 0 {
		t.Error("a file that nobody polls is watched")
	}
	a.does("IN+PRI", "poll", "v", "0") // as sysfs: it was not read yet
	a.does("1", "read", "v")
	a.does("nothing", "poll", "v", "0")
	b.does("1", "read", "v")
	for i, poll := range [][]string{{"pri", "v", "30000"}, {"poll", "v", "30000"}, {"select", "v", "30"}, {"epoll", "v", "30"}, {"epoll", "v", "30"}} {
		want := map[string]string{"pri": "PRI", "poll": "IN+PRI", "select": "rx", "epoll": "PRI"}[poll[0]]
		a.begin(poll...)
		b.begin("pri", "v", "30000")
		polled(t, s, 2)
		p.edge(float64(i + 2))
		if got := a.result(); got != want {
			t.Errorf("%s: %q, want %q", poll[0], got, want)
		}
		if got := b.result(); got != "PRI" {
			t.Errorf("the other poller: %q, want PRI", got)
		}
		a.does(strconv.Itoa(i+2), "read", "v")
		b.does("PRI", "pri", "v", "0") // what a read is still there for b
		b.does(strconv.Itoa(i+2), "read", "v")
		b.does("nothing", "pri", "v", "0")
	}
	a.does("nothing", "select", "v", "0")
	a.does("nothing", "epoll", "v", "0")

	// A sample between a read and a poll is not lost.
	p.edge(20)
	a.does("PRI", "pri", "v", "30000")
	a.does("20", "read", "v")

	// The board begins to count again.
	p.do(func() { p.sample.Seq = 0 })
	p.edge(21)
	a.does("PRI", "pri", "v", "30000")

	a.does("ok", "close", "v")
	b.does("ok", "close", "v")
	eventually(t, "the watches end with the files", func() bool { return p.watchers() == 0 && src.open() == 0 })

	// An output can always be written to.
	a.does("ok", "open", "o", dir+"/gpio/c/2/value", "O_RDWR")
	a.does("1", "read", "o")
	a.does("OUT", "poll", "o", "30000", "OUT")
	a.does("nothing", "poll", "o", "0")
	a.does("ok", "open", "at", path[:len(path)-len("value")]+"at", "O_RDONLY")
	a.does("2023-11-14T22:13:27.123456789Z", "read", "at")
	a.does("nothing", "pri", "at", "0")
	p.edge(22)
	a.does("PRI", "pri", "at", "30000")
	a.does("ok", "open", "u", path[:len(path)-len("value")]+"unit", "O_RDONLY")
	a.does("IN", "poll", "u", "0")
}

// polled waits until n files are waited for.
func polled(t *testing.T, s *Server, n int) {
	t.Helper()
	eventually(t, "somebody polls", func() bool {
		waiting := 0
		s.fs.mu.Lock()
		defer s.fs.mu.Unlock()
		for o := range s.fs.files {
			o.mu.Lock()
			if o.wake != nil {
				waiting++
			}
			o.mu.Unlock()
		}
		return waiting == n
	})
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not seen: %s", what)
		}
	}
}

// Who polls and never reads is woken once, and costs nothing more.
func TestPollThatIsNeverRead(t *testing.T) {
	src := local(input("gpio/c/1"))
	f := newFS(src)
	_, inos := walk(t, f)
	opened, err := f.Open(inos["gpio/c/1/value"], 0, fuse.Caller{})
	if err != 0 {
		t.Fatal(err)
	}
	woken := 0
	if got := opened.Poll(func() { woken++ }); got != pollIn|pollPri {
		t.Errorf("before it was read: %#x", got)
	}
	for range 1000 {
		src.pin("", "gpio/c/1").edge(1)
	}
	if woken != 1 {
		t.Errorf("woken %d times, want once", woken)
	}
	opened.Release()
	src.pin("", "gpio/c/1").edge(1)
	if woken != 1 || src.open() != 0 {
		t.Errorf("after it was closed: woken %d times, %d open", woken, src.open())
	}
}

// Who polls an output, or a pin of which one edge is told, is woken though the value
// is never at hand; what comes while the device is asked is not lost.
func TestPollOfAPinThatIsAsked(t *testing.T) {
	src := local(input("gpio/c/1"), output("gpio/c/2"))
	dir, s := mounted(t, src)
	for _, name := range []string{"gpio/c/1", "gpio/c/2"} {
		p := src.pin("", name)
		p.do(func() { p.slow = true })
		for _, what := range []string{"value", "at"} {
			a := newAgent(t)
			a.does("ok", "open", "v", dir+"/"+name+"/"+what, "O_RDONLY")
			a.does("IN+PRI", "poll", "v", "0")
			a.begin("read", "v")
			a.result()
			a.does("nothing", "poll", "v", "0")
			a.begin("pri", "v", "30000")
			polled(t, s, 1)
			p.edge(2)
			if got := a.result(); got != "PRI" {
				t.Errorf("%s of %s: %q, want PRI", what, name, got)
			}
			p.do(func() { p.meanwhile = func() { p.edge(3) } })
			a.begin("read", "v")
			a.result()
			a.does("PRI", "pri", "v", "0")
			a.begin("read", "v")
			a.result()
			a.does("nothing", "pri", "v", "0")
			a.does("ok", "close", "v")
		}
	}
}
