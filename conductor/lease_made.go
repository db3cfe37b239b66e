package conductor

import (
	"slices"

	"github.com/stack4things/s4t"
)

// takeLeased takes back what a lease made on its boards: exposed services, ports of networks, plugins.
// The boards are held. What they carried for it as streams ends with what is wanted of their tunnel
// agents.
func (ch *change) takeLeased(l s4t.Lease) error {
	services, err := ch.ServicesOfLease(l.ID)
	if err != nil {
		return err
	}
	for _, s := range services {
		if err := ch.removeService(s); err != nil {
			return err
		}
	}
	ports, err := ch.PortsOfLease(l.ID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if err := ch.removePort(p); err != nil {
			return err
		}
	}
	plugins, err := ch.InjectionsOfLease(l.ID)
	if err != nil {
		return err
	}
	for _, i := range plugins {
		if err := ch.removePlugin(i); err != nil {
			return err
		}
	}
	return ch.streamsOfLease(l)
}

// streamsOfLease has the tunnel agents of a lease's boards know until when its streams last, when all
// of the change is written.
func (ch *change) streamsOfLease(l s4t.Lease) error {
	boards, err := ch.LeaseBoards([]s4t.LeaseID{l.ID})
	if err != nil {
		return err
	}
	ids := boardIDs(boards[l.ID])
	slices.Sort(ids)
	for _, id := range ids {
		b, err := ch.Board(id)
		if err != nil {
			return err
		}
		if err := ch.wantStreams(b); err != nil {
			return err
		}
	}
	return nil
}
