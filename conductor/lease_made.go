package conductor

import (
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wire"
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
	if err := ch.forgetQueued(l); err != nil {
		return err
	}
	if err := ch.PinsDue(l.ID); err != nil {
		return err
	}
	if err := ch.endWatches(l); err != nil {
		return err
	}
	return ch.streamsOfLease(l)
}

// forgetQueued cancels the commands that wait for boards of a lease. What runs ends by its own time,
// which is not longer than the lease was.
func (ch *change) forgetQueued(l s4t.Lease) error {
	boards, err := ch.LeaseBoards([]s4t.LeaseID{l.ID})
	if err != nil {
		return err
	}
	for _, id := range boardIDs(boards[l.ID]) {
		tree, err := ch.Holdings(id)
		if err != nil {
			return err
		}
		if _, may := tree.May(l.Project, lease.Commands, ch.now); may {
			continue // it is the owner, or has another lease
		}
		open, err := ch.OpenRuns(id, maxOpenRuns)
		if err != nil {
			return err
		}
		var ids []s4t.OperationID
		for _, r := range open {
			if r.Project == l.Project && r.Status == s4t.OperationQueued {
				ids = append(ids, r.ID)
			}
		}
		slices.Sort(ids)
		locked, err := ch.LockRuns(ids)
		if err != nil {
			return err
		}
		for i := range locked {
			over := wire.RunState{ID: locked[i].ID, Status: s4t.OperationCancelled, Error: fmt.Sprintf("lease %q is over", l.Name)}
			if err := ch.hearRun(&locked[i], heardRun{board: id, unsent: true, state: over}); err != nil {
				return err
			}
		}
	}
	return nil
}

// endWatches ends what a lease's project watches of the pins of its boards that are online. A word that
// is lost costs no more than the term of a watch, and the board sends nothing by a lease that is over.
func (ch *change) endWatches(l s4t.Lease) error {
	boards, err := ch.LeaseBoards([]s4t.LeaseID{l.ID})
	if err != nil {
		return err
	}
	for _, id := range boardIDs(boards[l.ID]) {
		tree, err := ch.Holdings(id)
		if err != nil {
			return err
		}
		if _, may := tree.May(l.Project, lease.Pins, ch.now); may {
			continue
		}
		b, err := ch.Board(id)
		if err != nil {
			return err
		}
		if b.Status == s4t.BoardOnline {
			ch.casts = append(ch.casts, cast{wire.TopicWAMPPins + "." + string(b.WAMPAgent), wire.MethodPinsWatch, wire.BoardPinsWatch{Board: id, Project: l.Project, End: true}})
		}
	}
	return nil
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

// streamsLentTo has the tunnel agents of the boards that are lent to a project know how many streams it
// may have.
func (ch *change) streamsLentTo(p s4t.ProjectID) error {
	ids, err := ch.BoardsLentTo(p)
	if err != nil {
		return err
	}
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
