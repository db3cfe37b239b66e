// Package hal is the board's I/O: it finds pins and sensors, samples them, keeps
// their newest values and a bounded history, lets them be written and claimed,
// and says what each can do. It knows neither the cloud nor the tree of files.
//
// A Driver lists what is there, and works it. All lines of one device are worked by that
// device's own goroutine (device.go): a device that blocks holds up its own
// pins and nobody else, and who waits for it waits as long as its context. One heap of
// timers (timers.go) says when which pin is sampled, when a value that bounces has
// settled and when a lease is over. Times are the monotonic clock's; a wall clock
// that is set moves the times of what is remembered along.
//
// Who has a pin, and what that means for the others, are the rules of seat.go; orders.go does
// what follows from them. Orders reach a device in the order in which they were
// judged, and one that was judged before somebody else took the pin does not act any more.
//
// What a restart must know is in the journal, pins.json of the state directory: the
// highest fence of each pin, which is on disk before a claim is answered; a value for a time,
// and the one before it, which are on disk before it acts; other
// outputs and settings, which are written at once after a pause and at most every ten seconds.
//
// Where a pin has the fallback low or high, a process of its own (guard.go) does it when
// this one is killed.
//
// The locks, in the order in which they are taken: journal.mu, HAL.mu, HAL.orders, Pin.mu; and the
// leaves.
package hal
