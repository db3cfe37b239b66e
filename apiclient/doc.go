// Package apiclient is the Go client of the REST API, used by the command
// line, the demo and the tests. It also owns the bodies of requests (the
// types *Create, *Update, ...), which package api decodes: one type serves
// both ends.
//
// Every error it returns is an [*s4t.Error] with the kind the API gave; a
// cloud that cannot be reached is [s4t.Unavailable].
package apiclient
