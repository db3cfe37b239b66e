package lightningrod

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// savedBook is what book.json has: the newest book as the cloud signed it, and when it was heard by the
// clock of that boot.
type savedBook struct {
	Book  string        `json:"book"`
	Boot  string        `json:"boot"`
	Since time.Duration `json:"since"`
}

// sealedBook is book.json: the sum is of the bytes of Kept.
type sealedBook struct {
	Sum  string          `json:"sha256"`
	Kept json.RawMessage `json:"kept"`
}

// savedBook reads it; found is false where there is none. What is read is as it was written; who
// signed the book is for the caller to check.
func (d stateDir) savedBook() (s savedBook, found bool, err error) {
	b, err := d.read(bookFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		s, err = parseSavedBook(b)
	}
	if err != nil {
		err = d.failed("read", bookFile, err)
	}
	return s, true, err
}

// parseSavedBook reads the bytes of book.json.
func parseSavedBook(b []byte) (s savedBook, err error) {
	var sealed sealedBook
	if err := json.Unmarshal(b, &sealed); err != nil {
		return s, errors.New("it is not JSON")
	}
	if sum := sha256.Sum256(sealed.Kept); sealed.Sum != hex.EncodeToString(sum[:]) {
		return s, errors.New("its checksum does not match")
	}
	if err := json.Unmarshal(sealed.Kept, &s); err != nil || s.Since < 0 || len(s.Boot) > s4t.MaxName {
		return savedBook{}, errors.New("its content is not understood")
	}
	return s, nil
}

func (d stateDir) saveBook(s savedBook) error {
	kept := wire.Encode(s)
	sum := sha256.Sum256(kept)
	return d.write(bookFile, wire.Encode(sealedBook{Sum: hex.EncodeToString(sum[:]), Kept: kept}))
}

// bootID tells one boot of the machine from another.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if id := strings.TrimSpace(string(b)); err == nil && id != "" && len(id) <= s4t.MaxName {
		return id
	}
	return s4t.NewID()
}
