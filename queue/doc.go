// Package queue carries requests between the processes of the cloud: Call
// (ask and wait), Cast (tell one), Fanout (tell all), Serve (answer). It does
// not know what a message means.
//
// Every driver has the same method set, and every driver passes the tests in
// queuetest:
//
//	Call(ctx context.Context, topic, method string, req, reply any) error
//	Cast(ctx context.Context, topic, method string, req any) error
//	Fanout(ctx context.Context, topic, method string, req any) error
//	Serve(ctx context.Context, topic, server string, workers int, h Handler) error
//
// Callers declare the interface they need out of these four.
//
// # What may be relied on, with any driver
//
//   - A message is JSON, encoded by the caller and decoded by the server, in
//     one process too: nobody shares memory through a queue. A long reply may
//     be bytes of its own ([Raw]).
//   - Call and Cast reach one of the servers of a topic; topic + "." + server
//     reaches that one. Several servers of one name in one process share its
//     messages; of several processes one has them. A busy server does not keep
//     the others idle.
//   - A Call ends with its context, or after [DefaultTimeout]. Where nobody
//     serves the topic it ends with an error of kind Unavailable soon; where
//     that cannot be told, with its deadline.
//   - A Call is handled once at most: what a broker delivers again is not
//     handled again; its caller hears Unavailable. A user's request must not be
//     carried out after a later one that took it back.
//   - An error of kind K on the server's side is one of kind K on the
//     caller's; a cause does not cross, and what is not an [s4t.Error] crosses
//     as "internal error" and is logged where it happened.
//   - A server that is told to end hands back what it has not begun, and its handlers of
//     calls go on for up to 1.5 s: who asks while processes are restarted in order
//     hears nothing of it.
//   - Everything is bounded. A Cast that finds the server's queue full returns
//     Unavailable. A Call may wait for room, within its deadline.
//   - Serve goes on by itself when the broker was away.
//
// # What may not be relied on
//
//   - Unavailable and Timeout do not say that a request was not carried out: the
//     server, the broker or what connects them may have ended after it. Who calls
//     again, as agents and boards do, may be handled twice: what they ask for is
//     idempotent.
//   - A Cast, and a message of a Fanout, may be handled more than once, by
//     different servers at the same time too.
//   - Messages may be handled in another order than they were sent in. What has
//     an order carries a number (an epoch, a sequence, a generation).
//   - A Cast that returned nil may be lost. A message is a wake-up; the truth is
//     in the database (decision 1), and a timer looks there too.
//   - A Fanout that returned nil says nothing of who is there, or too slow; it
//     may be lost for some of them. Who must not miss anything asks for what it
//     lacks.
package queue
