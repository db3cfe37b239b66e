package wire

// MethodCloudHosts of the conductor: CloudHostsAsk -> CloudHosts, for any role.
const MethodCloudHosts = "cloud.hosts"

// CloudHostsAsk asks for the host names of public ports.
type CloudHostsAsk struct {
	Caller Caller `json:"caller"`
}

// CloudHosts answers it.
type CloudHosts struct {
	Hosts []string `json:"hosts"` // of all tunnel agents, sorted, each once
}
