package amqp

import (
	"errors"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// Where the last server of a topic has died its queue stays for a minute, and takes
// messages; what waited in the queue of a server that died is gone. So a caller who
// waits looks whether somebody is there, and does not wait for its deadline in vain.

const (
	// lookEvery is how often a caller looks: the first time after so long, as most have
	// their answer before.
	lookEvery = 1500 * time.Millisecond
	// alone is how often in a row it finds nobody before it gives up: a server that has lost
	// its connection for a moment is back meanwhile, and who is started again may be.
	alone = 2
)

// look is one look at a queue, shared by all who call it.
type look struct {
	began time.Time
	done  chan struct{} // closed when the rest is known
	// nobody counts the looks in a row that found nobody; at [alone] the queue is
	// deleted, with what waits in it: who sent that hears it from this look, and who sends from
	// now on at once.
	nobody    int
	abandoned bool
}

// look looks whether somebody serves a queue, unless that was just done.
func (l *link) look(queue string) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for q, old := range l.looks {
		if now.Sub(old.began) > 4*lookEvery { // it says nothing of now
			delete(l.looks, q)
		}
	}
	last := l.looks[queue]
	if last != nil && now.Sub(last.began) < lookEvery/2 {
		return last
	}
	k := &look{began: now, done: make(chan struct{})}
	l.looks[queue] = k
	go func() { // ends with the connection, if not before
		defer close(k.done)
		if l.served(queue) {
			return
		}
		k.nobody = 1
		if last != nil {
			<-last.done
			k.nobody += last.nobody
		}
		k.abandoned = k.nobody >= alone && l.abandon(queue)
	}()
	return k
}

// served reports whether a queue has a consumer, as far as the broker says: a queue
// that another connection has to itself, which may not be asked about, has.
func (l *link) served(queue string) bool {
	ch, err := l.in.Channel() // of its own: a refusal closes it
	if err != nil {
		return true
	}
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if e, ok := errors.AsType[*amqp091.Error](err); ok && e.Code == amqp091.NotFound {
		return false
	}
	return err != nil || q.Consumers > 0
}

// abandon deletes a queue that nobody serves, and reports whether it is gone.
func (l *link) abandon(queue string) bool {
	ch, err := l.in.Channel()
	if err != nil {
		return false
	}
	defer ch.Close()
	_, err = ch.QueueDelete(queue, true, false, false) // not where somebody came meanwhile
	return err == nil
}
