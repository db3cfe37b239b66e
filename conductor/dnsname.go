package conductor

import (
	"context"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A service may have a name in the cloud's DNS zone: of all projects' services one
// at most has it. Name servers, which run with the API, ask where it is.

// dnsNamed tells of a DNS name that another service has, and not whose: that one may be
// another project's.
func dnsNamed(op, name string, err error) error {
	if store.IsUnique(err, "services.dns_name") {
		return s4t.Errorf(s4t.Conflict, op, "choose another", "the DNS name %q is taken", name)
	}
	return err
}

// serviceUpdate gives a service another DNS name, or none.
func (c *Conductor) serviceUpdate(ctx context.Context, req wire.ServiceUpdate) (s4t.Service, error) {
	op := fmt.Sprintf("update service %s of board %q", s4t.Line(req.Service, s4t.MaxName), req.Board)
	var name string
	if req.DNSName != nil && *req.DNSName != "" {
		var err error
		if name, err = s4t.ParseDNSName(op, *req.DNSName); err != nil {
			return s4t.Service{}, err
		}
	}
	var s store.Service
	err := c.request(ctx, req.Caller, "service.update", req.Service, func(ch *change, rec *s4t.AuditRecord) error {
		b, by, err := ch.lockBoard(req.Caller, op, wire.MethodServiceUpdate, req.Board)
		if err != nil {
			return err
		}
		rec.Board, rec.Project = b.ID, by.Project
		if s, err = ch.serviceOf(req.Caller, op, b, req.Service); err != nil {
			return err
		}
		rec.Object, rec.Name = string(s.ID), s.Name
		if req.DNSName == nil || s.DNSName == name {
			return nil
		}
		was := s.DNSName
		s.DNSName = name
		rec.Detail = fmt.Sprintf("DNS name %q, before %q", name, was)
		if err := ch.NameService(s.ID, name); err != nil {
			return dnsNamed(op, name, err)
		}
		ch.event(s4t.Event{Kind: "service.updated", Project: s.Project, Object: string(s.ID), Name: s.Name, Board: s.Board, Detail: rec.Detail, Data: wire.Encode(map[string]any{"dns_name": name})})
		return nil
	})
	return shownService(s), err
}

// serviceLookup says where the service with a DNS name is, to whoever asks a name server.
func (c *Conductor) serviceLookup(ctx context.Context, req wire.ServiceLookup) (wire.ServicePlace, error) {
	place, err := view(ctx, c, func(tx *store.Tx) (wire.ServicePlace, error) { return tx.ServiceNamed(req.Name) })
	if s4t.KindOf(err) == s4t.NotFound {
		return wire.ServicePlace{}, nil
	}
	return place, err
}
