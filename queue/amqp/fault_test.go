package amqp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/rabbittest"
)

// operator is a connection of somebody else's to the broker.
func operator(t *testing.T, text string) (ch *amqp091.Channel, prefix string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	prefix = u.Query().Get("prefix")
	u.RawQuery = ""
	c, err := amqp091.Dial(u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if ch, err = c.Channel(); err != nil {
		t.Fatal(err)
	}
	return ch, prefix
}

// TestTheBrokerIsKilled kills the broker under calls, and starts it again with
// what it had written; then it runs out of memory.
func TestTheBrokerIsKilled(t *testing.T) { // not in parallel: the others use the same node
	node := rabbittest.Own(t)
	u := node.URL(t)
	asks, serves := newDriver(t, u), newDriver(t, u)
	in, out := make(chan struct{}, 64), make(chan struct{})
	serve(t, serves, "a", "1", 16, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "block" {
			in <- struct{}{}
			<-out
		}
		return body, nil
	})
	reach(t, asks, "a.1")
	results := make(chan error, 16)
	for range cap(results) {
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			results <- asks.Call(ctx, "a", "block", 1, nil)
		}()
	}
	for range cap(results) {
		receive(t, in)
	}
	node.Kill(t)
	killed := time.Now()
	for range cap(results) {
		if err := receive(t, results); s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("a call under way: %v", err)
		}
	}
	t.Logf("every caller was told %v after the kill", time.Since(killed))
	if err := asks.Call(t.Context(), "a", "hello", 1, nil); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("without a broker: %v", err)
	}
	close(out)
	node.Restart(t)
	back := time.Now()
	reach(t, asks, "a")
	reach(t, asks, "a.1")
	t.Logf("all works again %v after the port opened", time.Since(back))

	node.Ctl(t, "set_vm_memory_high_watermark", "absolute", "1MB")
	for end := time.Now().Add(patience); ; {
		// The broker tells who sends; what is sent before that waits.
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := asks.Cast(ctx, "a", "hello", 1)
		cancel()
		if s4t.KindOf(err) == s4t.Unavailable && strings.Contains(err.Error(), "takes no messages now") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a broker without memory: %v", err)
		}
	}
	node.Ctl(t, "set_vm_memory_high_watermark", "0.4")
	reach(t, asks, "a")
}

// TestAUserOfItsOwn has a user with the permissions that docs/operators.md gives it,
// in a vhost of its own.
func TestAUserOfItsOwn(t *testing.T) { // not in parallel: see above
	node := rabbittest.Own(t)
	u, err := url.Parse(node.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	vhost := "cloud/" + s4t.NewID()
	node.Ctl(t, "add_vhost", vhost)
	node.Ctl(t, "add_user", vhost, "SECRET")
	node.Ctl(t, "set_permissions", "-p", vhost, vhost, `^`+u.Query().Get("prefix")+`\.`, ".*", ".*")
	u.User, u.Path, u.RawPath = url.UserPassword(vhost, "SECRET"), "/"+vhost, "/"+url.PathEscape(vhost)
	d := newDriver(t, u.String())
	told := make(chan struct{}, 1)
	serve(t, d, "a", "1", 1, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "news" {
			told <- struct{}{}
		}
		return body, nil
	})
	reach(t, d, "a.1")
	if err := d.Fanout(t.Context(), "a", "news", 1); err != nil {
		t.Error(err)
	}
	receive(t, told)
}

// TestNothingIsCarried holds that a broker nobody hears of is noticed, and found
// again.
func TestNothingIsCarried(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	w := newWay(t, u, nil)
	asks, serves := newDriver(t, w.url), newDriver(t, u)
	serve(t, serves, "a", "1", 1, echo)
	reach(t, asks, "a")
	w.carryNothing()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := asks.Call(ctx, "a", "m", 1, nil); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("a call that is not carried: %v", err)
	}
	w.carryAgain()
	reach(t, asks, "a")
}

// TestAnOperatorDeletes holds that queues and exchanges which somebody deletes are
// declared again.
func TestAnOperatorDeletes(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	d := newDriver(t, u)
	told := make(chan struct{}, 1000)
	serve(t, d, "a", "1", 1, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "news" {
			told <- struct{}{}
		}
		return body, nil
	})
	fanout := func() {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			if err := d.Fanout(t.Context(), "a", "news", 1); err != nil && s4t.KindOf(err) != s4t.Unavailable {
				t.Fatal(err)
			}
			select {
			case <-told:
				return
			case <-time.After(20 * time.Millisecond): // it may have been lost
			}
			if time.Now().After(end) {
				t.Fatal("a fan-out does not arrive")
			}
		}
	}
	reach(t, d, "a.1")
	fanout()
	ch, prefix := operator(t, u)
	if _, err := ch.QueueDelete(prefix+".a", false, false, false); err != nil {
		t.Fatal(err)
	}
	reach(t, d, "a")
	if err := ch.ExchangeDelete(prefix+".fanout", false, false); err != nil {
		t.Fatal(err)
	}
	d.Fanout(t.Context(), "a", "news", 1) // who finds out
	reach(t, d, "a.1")
	fanout()
}

// TestPoison holds that what is no message of ours is dropped and told, and that
// the rest goes on.
func TestPoison(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	log := make(heard, 10000)
	d := logTo(t, u, log)
	var handled atomic.Int64
	serve(t, d, "a", "1", 1, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "poison" {
			handled.Add(1)
		}
		return body, nil
	})
	reach(t, d, "a")
	ch, prefix := operator(t, u)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	method := amqp091.Table{"method": "poison"}
	for _, msg := range []amqp091.Publishing{
		{},
		{Type: "call", Headers: method},
		{Type: "call", Headers: method, CorrelationId: "1", ReplyTo: prefix + ".a", Expiration: "1000"},
		{Type: "call", Headers: method, CorrelationId: "1", ReplyTo: prefix + ".reply.x"},
		{Type: "nonsense", Headers: method},
		{Type: "cast", Headers: amqp091.Table{"method": int32(7)}},
		{Type: "cast", Headers: method, Body: make([]byte, s4t.MaxMessage+1)},
	} {
		// Confirmed, it is in the queue before the call below, which comes by another connection.
		sent, err := ch.PublishWithDeferredConfirm("", prefix+".a", false, false, msg)
		if err != nil {
			t.Fatal(err)
		}
		if in, err := sent.WaitContext(ctx); err != nil || !in {
			t.Fatalf("the broker took it: %v, %v", in, err)
		}
	}
	log.wait(t, "a message is none of ours")
	// The server has one worker and one message at a time: after this call it is
	// through with all of them.
	if err := d.Call(ctx, "a", "hello", 1, nil); err != nil || handled.Load() != 0 {
		t.Errorf("after them: %v, %d were handled", err, handled.Load())
	}
	if q, err := ch.QueueDeclarePassive(prefix+".a", true, true, false, false, nil); err != nil || q.Messages != 0 {
		t.Errorf("%d wait, %v", q.Messages, err)
	}
}

// TestACallIsHandledOnce cuts a server off in the middle of a call, which the
// broker delivers to the next.
func TestACallIsHandledOnce(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	w := newWay(t, u, nil)
	asks, cut, other := newDriver(t, u), newDriver(t, w.url), newDriver(t, u)
	var times atomic.Int64
	in, out := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(out) })
	handler := func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "do" {
			times.Add(1)
			in <- struct{}{}
			<-out
		}
		return body, nil
	}
	serve(t, cut, "a", "1", 1, handler)
	reach(t, asks, "a.1")
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		result <- asks.Call(ctx, "a", "do", 1, nil)
	}()
	receive(t, in)
	serve(t, other, "a", "2", 1, handler)
	reach(t, asks, "a.2")
	w.cut()
	if err := receive(t, result); s4t.KindOf(err) != s4t.Unavailable || times.Load() != 1 {
		t.Errorf("%v, handled %d times", err, times.Load())
	}
	once.Do(func() { close(out) })
	reach(t, asks, "a.1")
}

// TestWhoIsNotLetIn holds that the log says why, without the password.
func TestWhoIsNotLetIn(t *testing.T) {
	t.Parallel()
	good, err := url.Parse(rabbittest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		spoil      func(u *url.URL)
	}{
		{"wrong password", "check the user, the password", func(u *url.URL) { u.User = url.UserPassword("guest", "hunter2") }},
		{"wrong vhost", "check its name", func(u *url.URL) { u.Path = "/nowhere" }},
		{"nobody there", "connection refused", func(u *url.URL) { u.Host = "127.0.0.1:1" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := *good
			tt.spoil(&u)
			log := make(heard, 1000)
			d := logTo(t, u.String(), log)
			late := time.After(patience)
			for said := false; !said; {
				select {
				case line := <-log:
					if strings.Contains(line, "hunter2") {
						t.Errorf("the log has the password: %s", line)
					}
					said = strings.Contains(line, "is away") && strings.Contains(line, tt.want)
				case <-late:
					t.Fatalf("the log does not say %q", tt.want)
				}
			}
			if err := d.Call(t.Context(), "a", "m", 1, nil); s4t.KindOf(err) != s4t.Unavailable {
				t.Errorf("a call: %v", err)
			}
		})
	}
}

// TestOneNameTwice holds that of two processes of one name the first is reached by
// it, and the second once that has ended; and that the log says so.
func TestOneNameTwice(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	log := make(heard, 10000)
	asks, first, second := newDriver(t, u), newDriver(t, u), logTo(t, u, log)
	answer := func(text string) func(context.Context, string, []byte) ([]byte, error) {
		return func(context.Context, string, []byte) ([]byte, error) { return []byte(text), nil }
	}
	stop := serve(t, first, "a", "1", 1, answer("1"))
	reach(t, asks, "a.1")
	serve(t, second, "a", "1", 1, answer("2"))
	log.wait(t, "another process has the same name")
	var got int
	if err := asks.Call(t.Context(), "a.1", "m", 1, &got); err != nil || got != 1 {
		t.Errorf("got %d, %v", got, err)
	}
	stop()
	reach(t, asks, "a.1")
}

// TestTLS has a broker that shows a certificate of a CA of its own.
func TestTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"broker.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWay(t, rabbittest.URL(t), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	secure := func(params string) string {
		return strings.Replace(w.url, "amqp://", "amqps://", 1) + params
	}
	for _, params := range []string{"&cacertfile=" + url.QueryEscape(ca), "&server_name_indication=broker.test&cacertfile=" + url.QueryEscape(ca)} {
		d := newDriver(t, secure(params))
		stop := serve(t, d, "a", "1", 1, echo)
		reach(t, d, "a")
		stop()
	}
	log := make(heard, 1000)
	logTo(t, secure(""), log)
	log.wait(t, "certificate")
}
