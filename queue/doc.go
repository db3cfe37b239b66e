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
// What may be relied on, with any driver:
//
//   - A message is JSON, encoded by the caller and decoded by the server, in
//     one process too: nobody shares memory through a queue.
//   - Call and Cast reach one of the servers of a topic; topic + "." + server
//     reaches that one. Nobody there is an error of kind Unavailable, at once.
//   - An error of kind K on the server's side is one of kind K on the
//     caller's; a cause does not cross, and what is not an [s4t.Error] crosses
//     as "internal error" and is logged where it happened.
//   - Messages of one caller to one server of one worker are handled in order.
//   - At most once: a Cast that returned nil can still be lost with the process
//     that should have handled it. A message is a wake-up; the truth is in the
//     database (decision 1).
//   - Everything is bounded. A Cast that finds the server's queue full returns
//     Unavailable; a Call waits for room until its context ends.
package queue
