package hal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
)

// told is a line that a guard is told.
func told(t *testing.T, meet string, orders ...GuardOrder) string {
	t.Helper()
	text, err := json.Marshal(toldGuard{orders, meet})
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func TestTheGuardDoesNothingAfterGoodbye(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	os.WriteFile(file, []byte("0"), 0o600)
	line := told(t, "", GuardOrder{Path: file, Text: "1"})
	if err := guard(strings.NewReader(line+goodbye+"\n"), nil, nil); err != nil {
		t.Error(err)
	}
	becomes(t, file, "0")
	if err := guard(strings.NewReader(line+`{"orders":[{"path`), nil, nil); err != nil { // died in the middle of a line
		t.Error(err)
	}
	becomes(t, file, "1")
	if err := guard(strings.NewReader(told(t, "", GuardOrder{Path: file + "/none", Text: "1"}, GuardOrder{Path: file, Text: "2"})), nil, nil); err == nil {
		t.Error("a file that is not there is no error")
	}
	becomes(t, file, "2") // one that fails keeps the others from nothing
}

// busyChip is a chip whose line the kernel has not taken from the dead process yet.
type busyChip struct {
	*twinChip
	busy int
}

func (c *busyChip) open(string) (gpioChip, error) { return c, nil }

func (c *busyChip) request(ask *uapi.LineRequest) (gpioRequest, error) {
	if c.busy--; c.busy >= 0 {
		return nil, syscall.EBUSY
	}
	return c.twinChip.request(ask)
}

func (c *busyChip) level(offset int) (level int, used bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[offset].level, c.lines[offset].used
}

// TestTheGuardHoldsALineUntilTheNextIsThere: who lets go of a line loses its level.
func TestTheGuardHoldsALineUntilTheNextIsThere(t *testing.T) {
	chip := &busyChip{newTwinChip(4), 3}
	state := t.TempDir()
	done := make(chan error)
	go func() {
		done <- guard(strings.NewReader(told(t, meetingPlace(state), GuardOrder{Path: "/dev/gpiochip0", GPIO: true, Offset: 2, Text: "1"})), chip, nil)
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if level, used := chip.level(2); level == 1 && used {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the line does not rise")
		}
	}
	relieve(state)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, used := chip.level(2); used {
		t.Error("it did not let go")
	}
	relieve(state) // nobody is there
	relieve("")
}

// TestTheGuardHoldsNoLineAfterSIGTERM: but it has done what it was told.
func TestTheGuardHoldsNoLineAfterSIGTERM(t *testing.T) {
	chip := &busyChip{newTwinChip(1), 0}
	chip.lines[0].pull = 1
	chip.lines[0].level = 0
	term := make(chan os.Signal, 1)
	term <- syscall.SIGTERM
	if err := guard(strings.NewReader(told(t, meetingPlace(t.TempDir()), GuardOrder{Path: "/dev/gpiochip0", GPIO: true, Text: "0"})), chip, term); err != nil {
		t.Error(err)
	}
	if _, used := chip.level(0); used {
		t.Error("it holds the line")
	}
}

func TestAChipThatIsGoneIsAnError(t *testing.T) {
	chip := &busyChip{newTwinChip(1), 0}
	chip.mu.Lock()
	chip.gone = true
	chip.mu.Unlock()
	if err := guard(strings.NewReader(told(t, "", GuardOrder{Path: "/dev/gpiochip0", GPIO: true, Text: "1"})), chip, nil); err == nil {
		t.Error("a chip that is gone is no error")
	}
}
