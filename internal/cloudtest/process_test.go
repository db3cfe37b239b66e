package cloudtest

import (
	"testing"

	"github.com/stack4things/s4t/apiclient"
)

// TestOneOfEachIsEnough kills and starts each process of a cloud that has two of
// each; what is asked meanwhile is answered.
func TestOneOfEachIsEnough(t *testing.T) {
	c, err := New(Config{Dir: t.TempDir(), Conductors: 2, APIs: 2, WAMPAgents: 2, TunnelAgents: 2})
	if err != nil {
		t.Fatal(err)
	}
	if c.Running() {
		t.Error("it runs before its start")
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i, p := range c.Processes() {
		p.Kill()
		if p.Running() || !c.Running() {
			t.Errorf("%s was killed: it runs %v, the cloud runs %v", p.Name, p.Running(), c.Running())
		}
		// A connection that was killed is none to ask over again.
		client.Close()
		if _, err := client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: "board" + string(rune('a'+i))}); err != nil {
			t.Errorf("without %s: %v", p.Name, err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	boards, err := client.Boards(t.Context(), nil, "")
	if err != nil || len(boards) != len(c.Processes()) || len(boards) != 8 {
		t.Errorf("%d boards, %v", len(boards), err)
	}
	for _, name := range []string{"conductor-1", "conductor-2"} {
		c.Process(name).Stop()
	}
	if c.Running() || c.Process("nobody") != nil {
		t.Error("it runs without a conductor")
	}
}
