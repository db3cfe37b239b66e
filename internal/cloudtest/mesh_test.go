package cloudtest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/link"
)

// TestANetworkSpansTunnelAgents has boards of three places on one bridge, each at a
// tunnel agent of its place. One agent is drained while the network's own is killed:
// boards of the others lose no frame, and then every board hears every other again.
func TestANetworkSpansTunnelAgents(t *testing.T) {
	places := []string{"messina", "catania", "palermo"}
	m := newMovingAt(t, Config{TunnelAgents: 4}, func(c *Cloud) {
		for i, place := range append(places, "palermo") {
			c.Process("tunnel-agent-" + strconv.Itoa(i+1)).Place = place
		}
	})
	var names []string
	for i, place := range places {
		for j := range 2 {
			name := fmt.Sprint(place, j+1)
			names = append(names, name)
			m.boardWith(name, map[string]string{"place": places[i]})
		}
	}
	op, err := m.client.CreateBridge(t.Context(), apiclient.BridgeCreate{Name: "red", Boards: names})
	m.done(op, err)
	agents := func(n s4t.Network) []s4t.AgentID { return n.TunnelAgents }
	n := m.spans("all places", func(n s4t.Network) error {
		if got := agents(n); len(got) != 3 || got[0] != "tunnel-agent-1" || got[1] != "tunnel-agent-2" || len(n.Problems) > 0 {
			return fmt.Errorf("the network is at %v, problems %v", got, n.Problems)
		}
		return nil
	})
	m.eachHearsEach("at three agents")

	// The agent of palermo that has it is drained: the other of that place takes over.
	last := string(n.TunnelAgents[2])
	other := map[string]string{"tunnel-agent-3": "tunnel-agent-4", "tunnel-agent-4": "tunnel-agent-3"}[last]
	stop := m.converse(m.boards[2], m.boards[5]) // catania to palermo
	if _, err := m.client.DrainAgent(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	m.Process("tunnel-agent-1").Kill()
	m.spans("what is left", func(n s4t.Network) error {
		if got := agents(n); len(got) != 2 || got[0] != "tunnel-agent-2" || got[1] != s4t.AgentID(other) || len(n.Problems) > 0 {
			return fmt.Errorf("the network is at %v, problems %v", got, n.Problems)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if a, err := m.client.WaitDrained(ctx, last, nil); err != nil || a.Networks != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	sent, heard := stop()
	t.Logf("%d frames were sent from %s to %s meanwhile", sent, m.boards[2].Name, m.boards[5].Name)
	for n := range sent {
		if heard[n] != 1 {
			t.Errorf("frame %d came %d times", n, heard[n])
		}
	}
	m.eachHearsEach("when one was drained and one killed")
}

// spans waits until the bridge's network is as it should be.
func (m *moving) spans(what string, is func(s4t.Network) error) (n s4t.Network) {
	m.t.Helper()
	took := m.within(90*time.Second, func(ctx context.Context) error {
		b, err := m.client.Bridge(ctx, "red")
		if err != nil {
			return err
		}
		if n, err = m.client.Network(ctx, string(b.Network)); err != nil {
			return err
		}
		if err := is(n); err != nil {
			return err
		}
		if b.Status != s4t.BridgeUp {
			return fmt.Errorf("the bridge is %s", b.Status)
		}
		return nil
	})
	m.t.Logf("%s: after %v", what, took.Round(time.Millisecond))
	return n
}

// eachHearsEach has every board speak to every other until it is heard, and says once
// to all, which each hears once.
func (m *moving) eachHearsEach(when string) {
	m.t.Helper()
	b, err := m.client.Bridge(m.t.Context(), "red")
	if err != nil {
		m.t.Fatal(err)
	}
	ports := map[string]s4t.Port{}
	for _, p := range b.Ports {
		ports[p.Board] = p
	}
	heard := newEar(m.boards)
	for _, from := range m.boards {
		for _, to := range m.boards {
			if from == to {
				continue
			}
			word := from.Name + " to " + to.Name + " " + when
			m.within(time.Minute, func(context.Context) error {
				from.Say(ports[from.Name].Interface, ethernet(ports[to.Name].MAC, ports[from.Name].MAC, word))
				return heard.by(word, to.Name)
			})
		}
	}
	for _, from := range m.boards {
		word := from.Name + " to all " + when
		from.Say(ports[from.Name].Interface, ethernet("ff:ff:ff:ff:ff:ff", ports[from.Name].MAC, word))
		for _, to := range m.boards {
			if from != to {
				m.within(time.Minute, func(context.Context) error { return heard.by(word, to.Name) })
			}
		}
	}
	heard.mu.Lock()
	defer heard.mu.Unlock()
	for _, from := range m.boards {
		for _, to := range m.boards {
			if n := heard.words[from.Name+" to all "+when][to.Name]; from != to && n != 1 || from == to && n != 0 {
				m.t.Errorf("%s heard %d times what %s said to all %s", to.Name, n, from.Name, when)
			}
		}
	}
}

// ear hears what boards are told.
type ear struct {
	mu    sync.Mutex                // guards words
	words map[string]map[string]int // by board: how often
}

func newEar(boards []*Board) *ear {
	e := &ear{words: map[string]map[string]int{}}
	for _, b := range boards {
		b.Hear(func(_ string, f []byte) {
			if len(f) < spoken || f[spoken-2] != 0x88 || f[spoken-1] != 0xb6 {
				return
			}
			word := string(f[spoken:])
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.words[word] == nil {
				e.words[word] = map[string]int{}
			}
			e.words[word][b.Name]++
		})
	}
	return e
}

// by says whether a board has not heard a word.
func (e *ear) by(word, board string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.words[word][board] == 0 {
		return fmt.Errorf("%s has not heard %q", board, word)
	}
	return nil
}

// spoken is where the words of a frame begin.
const spoken = link.HeaderLen + 14

// ethernet is a frame that says a word.
func ethernet(dst, src, word string) []byte {
	f := make([]byte, link.HeaderLen, 128)
	for _, text := range []string{dst, src} {
		mac, _ := net.ParseMAC(text)
		f = append(f, mac...)
	}
	return append(append(f, 0x88, 0xb6), word...) // IEEE 802 local experimental
}
