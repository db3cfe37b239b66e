// Package cloud puts a cloud together: any set of roles behind one port, with its
// listener, certificates and admission, started and stopped in order. Package main
// of iotronic runs one; tests run several in one process over one queue and one
// database, which is as many processes do.
//
// A role is one of the rooms below: the REST API, the conductor, the WAMP agent,
// the tunnel agent. Nothing is decided here.
package cloud
