// Package rawio is read(2) and write(2) on descriptors that never block.
//
// A system call made the usual way tells the Go scheduler that the thread may
// be away for long. Moving a quarter of a megabyte takes longer than the 20 µs
// after which the scheduler believes it and wakes another thread in its place,
// for nothing: the thread comes back before the other one has begun. On a busy
// data path that was half of all wake-ups. These calls do not tell it; so they
// are for descriptors in non-blocking mode only, where a call is but work.
package rawio
