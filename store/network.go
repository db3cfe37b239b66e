package store

import (
	"fmt"
	"net/netip"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
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
	return insert(tx, fmt.Sprintf("create the subnets of network %q", n.Name), `INSERT INTO subnets (`+subnetColumns+`) VALUES `, n.Subnets,
		func(sn s4t.Subnet) []any { return []any{sn.ID, n.ID, sn.Project, sn.CIDR.String()} }, ``)
}

// DeleteNetwork deletes a network with its subnets, bridge, ports and
// addresses.
func (tx *Tx) DeleteNetwork(id s4t.NetworkID) error {
	_, err := tx.exec(fmt.Sprintf("delete network %q", id), `DELETE FROM networks WHERE id = ?`, id)
	return err
}

// Network returns a network with its subnets, endpoints and uplink.
func (tx *Tx) Network(id s4t.NetworkID) (s4t.Network, error) {
	n, err := one(tx, fmt.Sprintf("find network %q", id), scanNetwork, `SELECT `+networkColumns+` FROM networks WHERE id = ?`, id)
	if err != nil {
		return n, err
	}
	list := []s4t.Network{n}
	err = tx.withParts(list)
	return list[0], err
}

// LockNetwork returns the bare network and holds it until the transaction
// ends: what is on it stays as it is.
func (tx *Tx) LockNetwork(id s4t.NetworkID) (s4t.Network, error) {
	return one(tx, fmt.Sprintf("find network %q", id), scanNetwork, `SELECT `+networkColumns+` FROM networks WHERE id = ?`+tx.forUpdate(), id)
}

// NetworksNamed returns the networks with a name: of a project, or with "" of
// every one.
func (tx *Tx) NetworksNamed(project s4t.ProjectID, name string) ([]s4t.Network, error) {
	where, args := named("networks", project, name)
	return tx.networks(where, args...)
}

// Networks returns a page of the networks of a project by name; "" means every
// project.
func (tx *Tx) Networks(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Network], error) {
	list, err := page(tx, "list networks", p, order[s4t.Network]{"name, id", func(n s4t.Network) []any { return []any{n.Name, string(n.ID)} }},
		scanNetwork, `SELECT `+networkColumns+` FROM networks`, equal(filter{}, "project", project))
	if err == nil {
		err = tx.withParts(list.Items)
	}
	return list, err
}

// EachNetwork calls fn with every network of a project.
func (tx *Tx) EachNetwork(project s4t.ProjectID, fn func(s4t.Network) error) error {
	for p := (wire.Page{}); ; {
		list, err := tx.Networks(project, p)
		if err != nil {
			return err
		}
		for _, n := range list.Items {
			if err := fn(n); err != nil {
				return err
			}
		}
		if p.After = list.Next; p.After == "" {
			return nil
		}
	}
}

// NetworksOfBoard returns the networks that a board has a port on.
func (tx *Tx) NetworksOfBoard(board s4t.BoardID) ([]s4t.Network, error) {
	return tx.networks(`WHERE id IN (SELECT network FROM ports WHERE board = ?) ORDER BY name, id`, board)
}

// NetworksByID returns those of ids that are there, by id.
func (tx *Tx) NetworksByID(ids []s4t.NetworkID) (map[s4t.NetworkID]s4t.Network, error) {
	networks, err := manyIn(tx, "list networks", scanNetwork, `SELECT `+networkColumns+` FROM networks WHERE id IN `, nil, ids, ``)
	if err == nil {
		err = tx.withParts(networks)
	}
	found := make(map[s4t.NetworkID]s4t.Network, len(networks))
	for _, n := range networks {
		found[n.ID] = n
	}
	return found, err
}

func (tx *Tx) networks(where string, args ...any) ([]s4t.Network, error) {
	networks, err := many(tx, "list networks", scanNetwork, `SELECT `+networkColumns+` FROM networks `+where, args...)
	if err == nil {
		err = tx.withParts(networks)
	}
	return networks, err
}

// withParts gives networks their subnets, endpoints and uplinks.
func (tx *Tx) withParts(networks []s4t.Network) error {
	at, ids := index(networks, func(n s4t.Network) s4t.NetworkID { return n.ID })
	subnets, err := manyIn(tx, "list subnets of networks", scanSubnet, `SELECT `+subnetColumns+` FROM subnets WHERE network IN `, nil, ids, ` ORDER BY cidr`)
	if err != nil {
		return err
	}
	for _, sn := range subnets {
		n := &networks[at[sn.Network]]
		n.Subnets = append(n.Subnets, sn)
	}
	endpoints, err := manyIn(tx, "list GRE endpoints of networks", scanEndpoint, endpointSelect+`WHERE e.network IN `, nil, ids, ` ORDER BY e.remote, e.gre_key`)
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		n := &networks[at[e.Network]]
		n.AttachGRE = append(n.AttachGRE, e.GREEndpoint)
	}
	uplinks, err := manyIn(tx, "list uplinks of networks", scanUplink, uplinkSelect+`WHERE u.network IN `, nil, ids, ``)
	for _, u := range uplinks {
		networks[at[u.Network]].Uplink = &u.Uplink
	}
	return err
}

// UsedPrefixes returns the subnets of all networks of a project.
func (tx *Tx) UsedPrefixes(project s4t.ProjectID) ([]netip.Prefix, error) {
	texts, err := many(tx, "list subnets", value[string], `SELECT cidr FROM subnets WHERE project = ?`, project)
	if err != nil {
		return nil, err
	}
	used := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		if used[i], err = netip.ParsePrefix(t); err != nil {
			return nil, s4t.Errorf(s4t.Internal, "list subnets", "", "%w", err)
		}
	}
	return used, nil
}

// Subnets returns a page of the subnets of a project; "" means every project.
func (tx *Tx) Subnets(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Subnet], error) {
	return page(tx, "list subnets", p, order[s4t.Subnet]{"cidr, id", func(sn s4t.Subnet) []any { return []any{sn.CIDR.String(), string(sn.ID)} }},
		scanSubnet, `SELECT `+subnetColumns+` FROM subnets`, equal(filter{}, "project", project))
}

// Subnet returns a subnet.
func (tx *Tx) Subnet(id s4t.SubnetID) (s4t.Subnet, error) {
	return one(tx, fmt.Sprintf("find subnet %q", id), scanSubnet, `SELECT `+subnetColumns+` FROM subnets WHERE id = ?`, id)
}
