// Package pinfs is the tree of pins as files, on the board itself and, of other
// boards, wherever it is mounted: names, modes, values, poll(2), errnos. Where
// the pins are, a [Source] knows.
//
//	[BOARD/]DRIVER/DEVICE/PIN/value        the newest value, one line; writing acts
//	                         /at           when that was, RFC 3339
//	                         /unit /kind   one line each
//	                         /lease        priority=P fence=N until=TIME holder=WHO; empty: it is free
//	                         /guarantee    of an output: what holds when lightning-rod dies
//	                         /problem      only while there is one
//	                         /direction /edge /bias /debounce /period /threshold /deadband /scale /label /fallback
//	                                       each where the pin has that setting (direction always); writing sets
//	[BOARD/]by-name/LABEL                  -> ../DRIVER/DEVICE/PIN
//	[BOARD/]status                         of a remote board: online or offline, and when it told of its pins
//
// # Reading and writing
//
// A read at offset 0 takes the newest sample, from memory where it is at hand,
// else from the device or the board; a read further on gets the rest of that
// sample. So who keeps a file open reads it with pread(2), or seeks to 0 first,
// as with sysfs. Sizes say 4096, as there, and mean nothing. sendfile(2) and
// splice(2) fail with EINVAL, and programs go back to read(2): the page cache, which
// they go through, would keep old values.
//
// Each write(2) is one value, wherever in the file it is written, and has acted
// when it returns. Truncating, closing and opening do nothing. A file that wrote
// under a claim of its holder keeps to that claim: when it has ended, further
// writes fail, until the file is opened again.
//
//	EINVAL        a value or a setting that cannot be
//	EACCES        not an output, or not allowed
//	EBUSY         somebody else has the pin; lease says who
//	ESTALE        the claim under which this file wrote has ended
//	ENODEV        the pin has gone; a pin of that name that comes later has to be opened anew
//	EHOSTUNREACH  a remote board is away, or does not answer within [RemoteTimeout]
//	ETIMEDOUT     a device of this board does not answer within [s4t.PinAnswerTime]
//	ENOBUFS       too much at once
//	EINTR         a signal came first
//	EIO           anything else; the log says what
//
// # Waiting
//
// poll(2), select(2) and epoll(7) wake on each new sample of value and at. What is
// new is counted for each open file by itself: it is ready until it reads the
// newest sample, whoever else reads. A file that was just opened is ready until
// its first read, as with sysfs, so nothing is missed between open and poll.
//
// Of a new sample poll says POLLPRI and POLLIN. POLLIN is also said until the
// reader has seen the end of what it reads (a read that returned less than it
// asked for), as shells poll before each byte: who waits for samples by POLLIN
// gives read more room than a line. sysfs says POLLERR too, which poll(2) cannot be
// told to leave out; here it is kept for what is an error: POLLERR and POLLHUP,
// when the pin has gone. Programs that wait for POLLPRI, or for POLLPRI|POLLERR as
// with sysfs, work unchanged. POLLOUT is always said of a file that is open for
// writing. All other files can always be read. A board that goes offline wakes
// nobody; its next sample does.
//
// Samples that come faster than a file is read are not kept for it: it reads the
// newest. A file that nobody polls is not watched, and costs nothing.
//
// inotify(7) sees what is done through this mount: opened, read, modified by
// writing, closed. It does not see samples, nor pins that come and go.
//
// # Who may what
//
// Folders can be listed by everybody. value has the mode and the owner that the
// board's owner set, less the right to write where the pin is an input; so have
// the settings, and at as far as reading goes. Without a word of the owner it is
// 0644, or 0444, of who mounted the tree. The rest can be read by everybody. The
// kernel checks this before it asks.
//
// # What the kernel keeps
//
// Names and modes for [Names]; it is told at once what went or changed. Nodes
// are numbers, made when somebody looks: see node.go.
package pinfs
