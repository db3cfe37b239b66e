package s4t

import "time"

// Cloud is what who uses a cloud has to know of it.
type Cloud struct {
	Version     string   `json:"version"`       // of iotronic
	URL         string   `json:"url"`           // of the API and the dashboard
	PublicHosts []string `json:"public_hosts"`  // host names of public ports, sorted
	SharedHost  bool     `json:"shared_host"`   // one of them is the URL's: software of boards shares the dashboard's host name
	CAs         []CAInfo `json:"cas,omitempty"` // that the cloud's certificate is of, and those that are announced; absent: one that systems know

	CertificateUntil *time.Time `json:"certificate_until,omitempty"` // of the API's process that answers; absent: a proxy has TLS

	// Certificates of processes that are there and have one, this one among them; for admins.
	// Absent where one process is the cloud.
	Certificates []ProcessCertificate `json:"certificates,omitempty"`
}

// ProcessCertificate says until when the TLS certificate is good that a process shows. A
// process that has several roles is there with each.
type ProcessCertificate struct {
	Process string    `json:"process"` // as `iotronic status` calls it: the id of an agent, else ROLE-NAME
	Role    string    `json:"role"`    // "api", "conductor", "wamp-agent" or "tunnel-agent"
	Host    string    `json:"host"`    // name of its machine; empty: it is not known
	Until   time.Time `json:"until"`
}

// CAInfo says of a CA who it is and until when it is good.
type CAInfo struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
}
