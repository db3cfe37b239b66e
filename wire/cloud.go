package wire

import "github.com/stack4things/s4t"

// MethodCloudHosts of the conductor: CloudHostsAsk -> CloudHosts, for any role.
const MethodCloudHosts = "cloud.hosts"

// CloudHostsAsk asks for the host names of public ports and, for an admin, the
// certificates of processes.
type CloudHostsAsk struct {
	Caller Caller `json:"caller"`
}

// CloudHosts answers it.
type CloudHosts struct {
	Hosts []string `json:"hosts"` // of all tunnel agents, sorted, each once

	Certificates []s4t.ProcessCertificate `json:"certificates,omitempty"` // by role and process; for admins
}
