package s4t

import (
	"strings"
	"time"
)

// Bounds of commands.
const (
	MaxCommands       = 256            // of one board
	MaxCommandParams  = 64 << 10       // bytes of the parameters of one run, JSON
	MaxCommandResult  = 256 << 10      // bytes of its result, JSON
	MaxCommandSchema  = 32 << 10       // bytes of a schema
	MaxCommandTimeout = 24 * time.Hour // of a run
	MaxCommandQueue   = 30 * 24 * time.Hour
	MaxKey            = 255              // bytes of an idempotency key
	CommandTimeout    = 30 * time.Second // of a command that does not say
	CommandGrace      = 5 * time.Second  // between TERM and KILL of one that is cancelled, or late
	KeyLifetime       = 24 * time.Hour   // how long a key is remembered after its run ended
)

// ValidCommandName checks the name of a command: 1 to [MaxName] characters of
// a-z A-Z 0-9 . _ -, beginning with a letter or a digit.
func ValidCommandName(name string) error {
	ok := name != "" && len(name) <= MaxName && !strings.ContainsRune("._-", rune(name[0]))
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0
	}
	if !ok {
		return Errorf(Invalid, "name a command", "use letters, digits, and . _ - within", "%q is no name of a command", Line(name, MaxName))
	}
	return nil
}
