package store

import (
	"fmt"
	"net/netip"

	"github.com/stack4things/s4t"
)

const networkColumns = `id, project, name, layer, encapsulation, mtu, gre_key, tunnel_agent, created_at`

func scanNetwork(s scanner) (s4t.Network, error) {
	var n s4t.Network
	var created int64
	err := s.Scan(&n.ID, &n.Project, &n.Name, &n.Layer, &n.Encapsulation, &n.MTU, &n.Key, &n.TunnelAgent, &created)
	n.CreatedAt = fromMicros(created)
	n.Subnets = []s4t.Subnet{}
	return n, err
}

const subnetColumns = `id, network, project, cidr`

func scanSubnet(s scanner) (s4t.Subnet, error) {
	var sn s4t.Subnet
	var cidr string
	if err := s.Scan(&sn.ID, &sn.Network, &sn.Project, &cidr); err != nil {
		return sn, err
	}
	var err error
	sn.CIDR, err = netip.ParsePrefix(cidr)
	return sn, err
}

// InsertNetwork adds a network with its subnets. A GRE key that another
// network has is a Conflict on networks.gre_key.
func (tx *Tx) InsertNetwork(n s4t.Network) error {
	if _, err := tx.exec(fmt.Sprintf("create network %q", n.Name),
		`INSERT INTO networks (`+networkColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n.ID, n.Project, n.Name, n.Layer, n.Encapsulation, n.MTU, int64(n.Key), n.TunnelAgent, micros(n.CreatedAt)); err != nil {
		return err
	}
	for _, sn := range n.Subnets {
		if _, err := tx.exec(fmt.Sprintf("create subnet %v", sn.CIDR),
			`INSERT INTO subnets (`+subnetColumns+`) VALUES (?, ?, ?, ?)`, sn.ID, n.ID, sn.Project, sn.CIDR.String()); err != nil {
			return err
		}
	}
	return nil
}

// DeleteNetwork deletes a network with its subnets, bridge, ports and
// addresses.
func (tx *Tx) DeleteNetwork(id s4t.NetworkID) error {
	_, err := tx.exec(fmt.Sprintf("delete network %q", id), `DELETE FROM networks WHERE id = ?`, id)
	return err
}

// Network returns a network with its subnets.
func (tx *Tx) Network(id s4t.NetworkID) (s4t.Network, error) {
	n, err := one(tx, fmt.Sprintf("find network %q", id), scanNetwork, `SELECT `+networkColumns+` FROM networks WHERE id = ?`, id)
	if err != nil {
		return n, err
	}
	if n.Subnets, err = many(tx, "list subnets of a network", scanSubnet, `SELECT `+subnetColumns+` FROM subnets WHERE network = ? ORDER BY cidr`, id); err != nil {
		return n, err
	}
	u, err := tx.Uplink(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return n, nil
	}
	n.Uplink = &u.Uplink
	return n, err
}

// Networks returns the networks of a project by name; "" means every project.
func (tx *Tx) Networks(project s4t.ProjectID) ([]s4t.Network, error) {
	return tx.networks(`? = '' OR project = ?`, project, project)
}

// NetworksOfAgent returns the networks whose switch runs on a tunnel agent.
func (tx *Tx) NetworksOfAgent(agent s4t.AgentID) ([]s4t.Network, error) {
	return tx.networks(`tunnel_agent = ?`, agent)
}

// NetworksOfBoard returns the networks that a board has a port on.
func (tx *Tx) NetworksOfBoard(board s4t.BoardID) ([]s4t.Network, error) {
	return tx.networks(`id IN (SELECT network FROM ports WHERE board = ?)`, board)
}

func (tx *Tx) networks(where string, args ...any) ([]s4t.Network, error) {
	networks, err := many(tx, "list networks", scanNetwork, `SELECT `+networkColumns+` FROM networks WHERE `+where+` ORDER BY name, id`, args...)
	if err != nil || len(networks) == 0 {
		return networks, err
	}
	subnets, err := many(tx, "list subnets of networks", scanSubnet,
		`SELECT `+subnetColumns+` FROM subnets WHERE network IN (SELECT id FROM networks WHERE `+where+`) ORDER BY cidr`, args...)
	if err != nil {
		return nil, err
	}
	at := make(map[s4t.NetworkID]int, len(networks))
	for i, n := range networks {
		at[n.ID] = i
	}
	for _, sn := range subnets {
		if i, ok := at[sn.Network]; ok {
			networks[i].Subnets = append(networks[i].Subnets, sn)
		}
	}
	uplinks, err := many(tx, "list uplinks of networks", scanUplink, uplinkSelect+`WHERE u.network IN (SELECT id FROM networks WHERE `+where+`)`, args...)
	if err != nil {
		return nil, err
	}
	for _, u := range uplinks {
		if i, ok := at[u.Network]; ok {
			networks[i].Uplink = &u.Uplink
		}
	}
	return networks, nil
}

// Subnets returns the subnets of a project; "" means every project.
func (tx *Tx) Subnets(project s4t.ProjectID) ([]s4t.Subnet, error) {
	return many(tx, "list subnets", scanSubnet, `SELECT `+subnetColumns+` FROM subnets WHERE ? = '' OR project = ? ORDER BY cidr, id`, project, project)
}

// Subnet returns a subnet.
func (tx *Tx) Subnet(id s4t.SubnetID) (s4t.Subnet, error) {
	return one(tx, fmt.Sprintf("find subnet %q", id), scanSubnet, `SELECT `+subnetColumns+` FROM subnets WHERE id = ?`, id)
}
