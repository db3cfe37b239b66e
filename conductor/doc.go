// Package conductor decides. It checks a request, places it, reserves what it
// needs, and writes the desired state of boards and tunnel agents in one
// transaction with the operation that records the request (decision 1 of the
// architecture). Everything after that is convergence: wake-ups that may be
// lost, desired states that are asked for (whole by a board, as differences by a
// tunnel agent), and reports of what is. A crash anywhere is recovered by the
// same path.
//
// Any number of conductors work on one database. None keeps in memory what must
// be true; what only one does, the holder of a lease does (upkeep.go).
//
// It knows no HTTP, no SQL, no WAMP and no netlink: requests come from a queue,
// rows are kept by package store, agents are told over the queue.
//
// Every transaction that changes something goes through one function,
// [Conductor.change]: it grows the generation of each board and tunnel agent
// whose desired state changed, derives the statuses of ports, bridges and
// services, ends the operations that this completes, appends events and audit
// records, and, after the commit, casts the wake-ups. So nothing that changes
// state can forget to tell.
package conductor
