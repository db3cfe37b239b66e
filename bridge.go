package s4t

import "time"

// Step 1 of the paper's Fig. 3: what the user asks for.

// Bridge is the user's request "put these boards on one network" (step 1 of
// the paper's Fig. 3): a network, its subnets, and a port for each board.
type Bridge struct {
	ID            BridgeID      `json:"id"`
	Name          string        `json:"name"`
	Project       ProjectID     `json:"project"`
	Status        BridgeStatus  `json:"status"`
	Layer         int           `json:"layer"` // 2 or 3
	Encapsulation Encapsulation `json:"encapsulation"`
	MTU           int           `json:"mtu"`
	CIDR          string        `json:"cidr,omitempty"`  // "10.77.0.0/24"; empty: no IPv4 addresses are given
	CIDR6         string        `json:"cidr6,omitempty"` // "fd00:77::/64"; empty: no IPv6 addresses are given
	Network       NetworkID     `json:"network"`
	Ports         []Port        `json:"ports"`
	CreatedAt     time.Time     `json:"created_at"`
}

// BridgeStatus is derived from the ports.
type BridgeStatus string

// The statuses of a bridge.
const (
	BridgeUp       BridgeStatus = "up"       // every port is up
	BridgeDegraded BridgeStatus = "degraded" // some are
	BridgeDown     BridgeStatus = "down"     // none is
)

// StatusOf derives a bridge's status from its ports. No port at all is down.
func StatusOf(ports []Port) BridgeStatus {
	up := 0
	for _, p := range ports {
		if p.Status == PortUp {
			up++
		}
	}
	switch {
	case up == 0:
		return BridgeDown
	case up < len(ports):
		return BridgeDegraded
	}
	return BridgeUp
}
