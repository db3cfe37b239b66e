package s4t

// Port is a board's attachment to a network (a Neutron port). A TCP number is
// never called a port in this code: it is a tcpPort or a publicPort.
type Port struct {
	ID        PortID     `json:"id"`
	Network   NetworkID  `json:"network"`
	Project   ProjectID  `json:"project"`
	Board     string     `json:"board"` // its name
	BoardID   BoardID    `json:"board_id"`
	MAC       string     `json:"mac"`       // "02:..." locally administered; empty on layer 3
	Addresses []string   `json:"addresses"` // with prefix length: "10.77.0.2/24"
	Interface string     `json:"interface"` // of the device on the board, at most 15 bytes
	MTU       int        `json:"mtu"`
	Status    PortStatus `json:"status"`
	Guards    PortGuards `json:"guards"`
	Problem   string     `json:"problem,omitempty"` // what keeps it from being up, in the words of the board or the tunnel agent

	GRE      *PortGRE      `json:"gre,omitempty"`      // with encapsulation gre
	Counters *PortCounters `json:"counters,omitempty"` // in `port show` only
}

// PortStatus is the state of both halves of a port.
type PortStatus string

// The statuses of a port.
const (
	PortPending PortStatus = "pending" // never yet up: the board is offline, or on its way
	PortUp      PortStatus = "up"      // device on the board, stream, and port on the switch
	PortDown    PortStatus = "down"    // was up, is not now
)

// PortGuards lift the guards that are on by default.
type PortGuards struct {
	AllowAnySource bool   `json:"allow_any_source"`     // any source MAC, ARP, ND, IP: the port bridges a LAN
	AllowDHCP      bool   `json:"allow_dhcp"`           // a DHCP server may sit behind this port, and leased addresses are allowed as source
	AllowRA        bool   `json:"allow_ra"`             // an IPv6 router may sit behind this port
	StormLimit     int    `json:"storm_limit,omitzero"` // frames/s of broadcast, multicast and unknown unicast; 0 means the default
	BridgeTo       string `json:"bridge_to,omitempty"`  // interface of the board that is put into the network; implies AllowAnySource
	RateLimit      int64  `json:"rate_limit,omitzero"`  // bytes/s each way; 0 means none

	Outward OutwardGuards `json:"outward,omitzero"` // of an uplink or a GRE endpoint only
}

// OutwardGuards lift the guards in the other direction: what leaves a network
// for the data centre is checked as if no port's guards were lifted, whoever
// lifted them, until an admin lets it out.
type OutwardGuards struct {
	AllowAnySource bool `json:"allow_any_source"` // of a port that may have any: the LAN behind it
	AllowDHCP      bool `json:"allow_dhcp"`       // of a port that may have a DHCP server
	AllowRA        bool `json:"allow_ra"`         // of a port that may have an IPv6 router
}

// PortGRE are the outer addresses of a port with encapsulation gre.
type PortGRE struct {
	Local  string `json:"local"`  // TUN address of the board
	Remote string `json:"remote"` // TUN address of the tunnel agent
	Key    uint32 `json:"key"`
}

// PortCounters count since the stream was opened. Rx is from the board.
type PortCounters struct {
	RxFrames uint64      `json:"rx_frames"`
	RxBytes  uint64      `json:"rx_bytes"`
	TxFrames uint64      `json:"tx_frames"`
	TxBytes  uint64      `json:"tx_bytes"`
	Dropped  PortDropped `json:"dropped"`
}

// PortDropped counts frames that did not pass, by reason.
type PortDropped struct {
	SpoofedMAC          uint64 `json:"spoofed_mac"`
	SpoofedARP          uint64 `json:"spoofed_arp"`
	SpoofedND           uint64 `json:"spoofed_nd"`
	SpoofedIP           uint64 `json:"spoofed_ip"`
	DHCPServer          uint64 `json:"dhcp_server"`
	RouterAdvertisement uint64 `json:"router_advertisement"`
	BPDU                uint64 `json:"bpdu"`
	Storm               uint64 `json:"storm"`
	MACLimit            uint64 `json:"mac_limit"`
	Loop                uint64 `json:"loop"`
	QueueFull           uint64 `json:"queue_full"`
	Invalid             uint64 `json:"invalid"`
	NoDestination       uint64 `json:"no_destination"` // nobody has the address it is for
}
