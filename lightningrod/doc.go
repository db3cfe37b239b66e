// Package lightningrod is the engine of a board: it joins a cloud, keeps one
// control session with it, and makes the board what the cloud's desired state
// says: ports of virtual networks, and services that streams may reach.
//
// What is where, in the order of a board's life:
//
//	join.go     enrols: a code becomes an identity
//	state.go    the state directory: identity, last desired state, lock
//	engine.go   Run: saved state first, then sessions for ever
//	session.go  one control session over WAMP
//	leases.go   who holds the board, as the cloud signed it: what is allowed, and what ends
//	kind.go     what the board may hold: the registry of kinds
//	bridge.go   kind port, step 7 of the paper's Fig. 3: what ports there should be
//	port.go     one port: its device and its data rtunnel
//	contest.go  other programs that change a port's device
//	around.go   what a network must not hide: routes, DNS servers, the cloud
//	trial.go    what cut the board off is taken back
//	service.go  kind service, the second sequence: which streams may reach what
//	streams.go  kind streams: the data rtunnels on which streams come
//	target.go   whether something listens there; listener.go reads the kernel's tables
//	source.go   from which address a service sees whom; hostkey.go, its SSH keys
//	pin.go      what the cloud asks of the board's pins; pin_report.go, what it is told of them
//	pin_watch.go   samples on their way to the cloud, while somebody watches
//	pin_tree.go    the pins as files; pin_remote.go, the way of mounts to other boards' pins
//	command.go  what the cloud asks of commands; command_run.go has them run, command_report.go
//	            tells what became of them; feed.go, lines that are sent while they come
//	mount.go    the process that mounts those, and mount_source.go what it shows
//	status.go   the Unix socket behind `lightning-rod status` and `leave`
//	lock.go     where lock and socket are, also on a read-only disk
//	doctor.go   what package doctor is told of the board
//	leave.go    un-enrols
//	owner.go    forgets what the owner before left, where the board has another one
//
// Nothing here listens on the outside; every connection is dialled by the
// board. Losing any state file but the identity costs a fetch, never the
// truth.
package lightningrod
