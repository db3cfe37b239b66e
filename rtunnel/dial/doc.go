// Package dial opens WebSockets to the cloud, for rtunnels and for /wamp: name to
// addresses, addresses to TCP, through an HTTP proxy where one is configured, TLS
// with the cloud's own CA, and the upgrade. What stands in the way is said as a
// diagnosis ([DiagnosisOf]).
//
//	dial.go, race.go        names and TCP, both families at once
//	path.go                 paths that drop big packets
//	proxy.go, digest.go     CONNECT, NO_PROXY, Basic and Digest
//	tls.go                  whom to trust
//	upgrade.go, head.go     HTTP/1.1
//	inspect.go              who answers, without believing it
package dial
