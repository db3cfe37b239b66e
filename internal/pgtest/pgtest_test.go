package pgtest

import (
	"bufio"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"
)

// child is set for a process that starts a cluster, says where, and waits to
// be killed.
const child = "S4T_PGTEST_CHILD"

func TestTheClusterEndsWithTheTests(t *testing.T) {
	if os.Getenv(child) != "" {
		u, err := url.Parse(URL(t))
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(u.Query().Get("host") + "\n")
		select {}
	}
	URL(t) // skips where there is no PostgreSQL
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1", serverVariable+"=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := line[:len(line)-1]
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for { // the test's timeout is the bound
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	one, other := URL(t), URL(t)
	if one == other {
		t.Fatalf("two databases are %s", one)
	}
	for _, url := range []string{one, other} {
		if err := execute(url, "CREATE TABLE x (id BIGINT)"); err != nil {
			t.Error(err)
		}
	}
}

func TestACopyHasWhatWasFilledIn(t *testing.T) {
	fills := 0
	fill := func(url string) error {
		fills++
		return execute(url, "CREATE TABLE x (id BIGINT)")
	}
	for range 2 {
		if err := execute(Copy(t, fill), "INSERT INTO x VALUES (1)"); err != nil {
			t.Error(err)
		}
	}
	if fills != 1 && os.Getenv(serverVariable) == "" {
		t.Errorf("filled %d times", fills)
	}
}
