package conductor

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
)

// conductorChild, where it is set, makes this test binary a conductor on the database
// that it names, until it is killed or its standard input ends.
const conductorChild = "S4T_TEST_CONDUCTOR"

func TestMain(m *testing.M) {
	if url := os.Getenv(conductorChild); url != "" {
		if err := runChild(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func runChild(url string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { io.Copy(io.Discard, os.Stdin); cancel() }()
	db, err := store.Open(ctx, store.Config{URL: url})
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := New(Config{Store: db, Queue: queue.New(), TicketKey: make(ed25519.PrivateKey, ed25519.PrivateKeySize), URLs: []string{cloudURL}})
	if err != nil {
		return err
	}
	fmt.Println(c.upkept.holder)
	return c.Run(ctx)
}

// TestUpkeepGoesOnWhereOneOfThreeProcessesIsKilled kills the process that does the upkeep,
// twice: another does it soon, in one transaction after the other that the first has left.
func TestUpkeepGoesOnWhereOneOfThreeProcessesIsKilled(t *testing.T) {
	url := pgtest.Copy(t, fill)
	db, err := store.Open(t.Context(), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	children := map[string]*exec.Cmd{} // by the name they hold leases under
	for range 3 {
		cmd := exec.Command(program)
		cmd.Env, cmd.Stderr = append(os.Environ(), conductorChild+"="+url), os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { in.Close(); cmd.Wait() }()
		holder, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		children[holder[:len(holder)-1]] = cmd
	}
	leader := ""
	for round := range 2 {
		waitFor(t, db, func(tx *store.Tx) (bool, error) {
			holder, until, err := tx.LeaseHolder(upkeepLease)
			leader = holder
			return children[holder] != nil && until.After(tx.Now()), err
		})
		if err := children[leader].Process.Kill(); err != nil {
			t.Fatal(err)
		}
		children[leader].Wait()
		delete(children, leader)
		// Something to do for who takes over.
		b := store.Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Project: projectID, Name: fmt.Sprint("b", round), CreatedAt: time.Now()}, ClonedAt: time.Now().Add(-2 * cloneNotice)}
		var killed, done time.Time
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			killed = tx.Now()
			if err := tx.InsertBoard(b); err != nil {
				return err
			}
			return tx.SetBoardCloned(b)
		})
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, db, func(tx *store.Tx) (bool, error) {
			got, err := tx.Board(b.ID)
			done = tx.Now()
			return got.ClonedAt.IsZero(), err
		})
		took := done.Sub(killed)
		t.Logf("upkeep went on after %v", took.Round(time.Millisecond))
		if took > 3*leaseTime { // a machine that is busy with other things is slow
			t.Errorf("upkeep went on after %v", took)
		}
	}
}

// waitFor looks at a database until it is as it should be: nobody tells who only reads it.
func waitFor(t *testing.T, db *store.DB, is func(tx *store.Tx) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for ok := false; ; {
		err := db.View(ctx, func(tx *store.Tx) (err error) { ok, err = is(tx); return err })
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		<-tick.C
	}
}
