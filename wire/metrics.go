package wire

import "github.com/stack4things/s4t"

// MethodMetrics of the conductor: MetricsAsk -> Metrics, what the caller may
// see in figures.
const MethodMetrics = "metrics"

// MethodCounters of the tunnel agent: CountersAsk -> Counters.
const MethodCounters = "counters"

// MetricsAsk asks for a page of metrics.
type MetricsAsk struct {
	Caller Caller `json:"caller"`
	After  string `json:"after,omitempty"` // Next of the page before
}

// Metrics is a page of metrics. Boards and Uplinks are in the first one only.
type Metrics struct {
	Boards  map[s4t.BoardStatus]int `json:"boards,omitempty"`
	Uplinks []UplinkMetrics         `json:"uplinks,omitempty"`
	Ports   []PortMetrics           `json:"ports"`
	Next    string                  `json:"next,omitempty"` // ask After it for the next page; empty: this was the last
}

// PortMetrics are the figures of a port.
type PortMetrics struct {
	ID       s4t.PortID        `json:"id"`
	Board    string            `json:"board"`
	Network  s4t.NetworkID     `json:"network"`
	Project  s4t.ProjectID     `json:"project"`
	Status   s4t.PortStatus    `json:"status"`
	Counters *s4t.PortCounters `json:"counters,omitempty"` // nil: its data rtunnel is not there
}

// UplinkMetrics are the figures of an uplink. Rx is from the bridge.
type UplinkMetrics struct {
	Network  s4t.NetworkID     `json:"network"`
	Name     string            `json:"name"` // of the network
	Project  s4t.ProjectID     `json:"project"`
	Bridge   string            `json:"bridge"`
	Status   s4t.PortStatus    `json:"status"`
	Counters *s4t.PortCounters `json:"counters,omitempty"`
}

// CountersAsk asks for the counters of at most 500 ports; the id of a network
// stands for its uplink.
type CountersAsk struct {
	Ports []s4t.PortID `json:"ports"`
}

// Counters answers it; what is not there is left out.
type Counters struct {
	Ports map[s4t.PortID]s4t.PortCounters `json:"ports"`
}
