package api

import (
	"os"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestTheMetricsOfBoardsAreDocumented: each name is in the operator's manual.
func TestTheMetricsOfBoardsAreDocumented(t *testing.T) {
	manual, err := os.ReadFile("../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(renderMetrics(wire.Metrics{}, wire.BoardMetrics{Health: &s4t.Health{Temperature: new(float64)}}))) {
		if words := strings.Fields(line); words[0] == "#" && words[1] == "TYPE" {
			seen++
			if !strings.Contains(string(manual), "`"+words[2]+"`") {
				t.Errorf("%s is not in docs/operators.md", words[2])
			}
		}
	}
	if seen != 13 {
		t.Errorf("a board has %d metrics", seen)
	}
}
