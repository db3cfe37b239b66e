package dial_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/stream"
)

const pathBytes = 1 << 20 // moved each way

// TestDialGetsThroughPathsThatDropBigPackets dials over paths that drop
// packets over a size, silently, and moves a megabyte each way.
func TestDialGetsThroughPathsThatDropBigPackets(t *testing.T) {
	switch os.Getenv("S4T_PATH_ROLE") {
	case "server":
		pathServer(t)
		return
	case "board":
		pathBoard(t)
		return
	}
	if why := netlab.Missing(); why != "" {
		t.Skip(why)
	}
	if testing.Short() {
		t.Skip("takes seconds of real time")
	}
	sizes := []int{1280, 1124, 576}
	lab, err := netlab.New(len(sizes))
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	ca := filepath.Join(lab.Dir, "ca.pem")
	again := []string{os.Args[0], "-test.run=^" + t.Name() + "$", "-test.v"}
	server, err := lab.Cloud.Start("path-server", []string{"S4T_PATH_ROLE=server", "S4T_PATH_CA=" + ca}, again...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.WaitLine("serving", 0, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	var boards sync.WaitGroup
	for i, size := range sizes {
		board := lab.Boards()[i]
		if err := board.ShrinkPath(size); err != nil {
			t.Fatal(err)
		}
		boards.Go(func() {
			p, err := board.Start(fmt.Sprint("path-board-", size), []string{"S4T_PATH_ROLE=board", "S4T_PATH_CA=" + ca}, again...)
			if err != nil {
				t.Error(err)
				return
			}
			line, err := p.WaitLine("moved", 0, 30*time.Second)
			if err != nil {
				t.Errorf("a path of %d bytes: %v\n%s", size, err, p.Tail(20))
				return
			}
			t.Logf("a path of %d bytes: %s", size, line)
		})
	}
	boards.Wait()
}

// pathServer takes a megabyte of each rtunnel and answers with another.
func pathServer(t *testing.T) {
	a := newAuthority(t, "the cloud")
	if err := os.WriteFile(os.Getenv("S4T_PATH_CA"), a.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", netlab.CloudAddr+":8812")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("serving")
	http.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.chain}}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := accept.Accept(w, r, []string{rtunnel.SubprotocolStream})
		if err != nil {
			return
		}
		s := stream.New(conn)
		defer s.Close()
		s.Admit()
		io.Copy(io.Discard, s)
		s.Write(make([]byte, pathBytes))
		s.CloseWrite()
	}))
}

// pathBoard dials twice: the second time the Dialer knows the path.
func pathBoard(t *testing.T) {
	ca, err := os.ReadFile(os.Getenv("S4T_PATH_CA"))
	if err != nil {
		t.Fatal(err)
	}
	d := dialer(t, dial.Config{CA: ca, Now: func() time.Time { return time.Unix(0, 0) }})
	var took []string
	for range 2 {
		start := time.Now()
		// The certificate is for cloud.test; its address is the lab's.
		s, err := stream.Dial(t.Context(), d, "https://"+netlab.CloudAddr+":8812", "t")
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, fmt.Sprintf("dial %v", time.Since(start).Round(time.Millisecond)))
		s.Write(make([]byte, pathBytes))
		s.CloseWrite()
		n, err := io.Copy(io.Discard, s)
		if err != nil || n != pathBytes {
			t.Fatalf("got %d bytes, %v", n, err)
		}
		s.Close()
		took = append(took, fmt.Sprintf("both megabytes %v", time.Since(start).Round(time.Millisecond)))
	}
	fmt.Println("moved", strings.Join(took, ", "))
}
