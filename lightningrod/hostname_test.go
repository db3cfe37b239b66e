package lightningrod

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

func TestTheNameOfAHostAsABoardsName(t *testing.T) {
	for host, want := range map[string]string{
		"raspberrypi": "raspberrypi", "node-7.lab.example": "node-7", "": "board", "---": "board", "tür": "t-r", "-x_": "x",
		"3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11": "board", strings.Repeat("a", 80): strings.Repeat("a", s4t.MaxName),
	} {
		if got := boardName(host); got != want || s4t.ValidName("board", got) != nil {
			t.Errorf("%q becomes %q, want %q", host, got, want)
		}
	}
	if err := s4t.ValidName("board", hostName()); err != nil {
		t.Error(err)
	}
}

func TestTheHostIsToldWhereNobodyNamesTheBoard(t *testing.T) {
	c := newTestCloud(t)
	if _, err := Join(t.Context(), JoinConfig{State: t.TempDir(), Join: c.joinString("")}); err != nil {
		t.Fatal(err)
	}
	if c.name != "" || c.host != hostName() {
		t.Errorf("the cloud was asked for %q, of host %q", c.name, c.host)
	}
}
