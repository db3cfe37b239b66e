package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// The paper's second sequence, remote access: the conductor reserves a public
// port on a tunnel agent, in the same transaction as desired state and
// operation.

// Kinds of the operations on services.
const (
	kindExpose = "service.expose"
	kindHide   = "service.hide"
)

// serviceKind: the tunnel agent listens on the public port, and the board is
// ready to take streams for it.
var serviceKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		s, err := ch.Service(s4t.ServiceID(id))
		if err != nil {
			return err
		}
		word, status, problem := "service.down", s4t.ServicePending, problemOf(halves)
		if now == s4t.PortUp {
			word, status = "service.up", s4t.ServiceUp
		}
		ch.event(s4t.Event{Kind: word, Project: s.Project, Object: id, Name: s.Name, Board: s.Board, Detail: problem,
			Data: map[string]any{"id": s.ID, "status": status, "problem": problem}})
		return nil
	},
	told: func(ch *change, id string, was, now store.Realization) error {
		refused := now.ProblemID == wire.TargetRefused
		if !now.OnBoard || !now.Up || refused == (was.ProblemID == wire.TargetRefused) {
			return nil
		}
		s, err := ch.Service(s4t.ServiceID(id))
		if err != nil {
			return err
		}
		detail := s4t.TargetListening
		if refused {
			detail = s4t.TargetRefused
		}
		ch.event(s4t.Event{Kind: "service.target", Project: s.Project, Object: id, Name: s.Name, Board: s.Board, Detail: detail})
		return nil
	},
	late: func(a store.Await) string {
		if a.OnBoard {
			return "board " + a.HolderName + " is not ready to take streams"
		}
		return fmt.Sprintf("the tunnel agent does not listen on public port %d", publicPortOf(a))
	},
	fails: func(a store.Await) (s4t.Kind, string) {
		if a.OnBoard && a.ProblemID == wire.TargetForbidden {
			return s4t.Forbidden, fmt.Sprintf("board %s refuses: %s", a.HolderName, a.Problem)
		}
		if a.OnBoard {
			return "", ""
		}
		return s4t.Conflict, fmt.Sprintf("public port %d: %s", publicPortOf(a), a.Problem)
	},
	retry: (*change).retryPort,
	withdraw: func(ch *change, op store.Operation, id string) error { // nothing is left half-made
		if op.Kind != kindExpose {
			return nil
		}
		s, err := ch.Service(s4t.ServiceID(id))
		if err != nil {
			return err
		}
		return ch.removeService(s)
	},
}

func publicPortOf(a store.Await) int {
	var e wire.TunnelExposure
	_ = json.Unmarshal([]byte(a.Spec), &e) // it is ours; at worst the number is missing
	return e.PublicPort
}

// wantService wants both halves of a service, as far as its board is attached.
func (ch *change) wantService(s store.Service) {
	ch.want(boardOf(s.BoardID), wire.KindService, string(s.ID), wire.DesiredService{Target: s.Target, TCPPort: s.TCPPort, Leased: leasedBy(s.Project, s.Lease)})
	if !attached(s.BoardStatus) {
		ch.unwant(agentOf(s.Agent), wire.KindService, string(s.ID))
		return
	}
	ch.want(agentOf(s.Agent), wire.KindService, string(s.ID), wire.TunnelExposure{Board: s.BoardID, PublicPort: s.PublicPort, Ticket: ch.c.serviceTicket(s), Lease: s.Lease})
}

// defaultTarget is the board itself.
const defaultTarget = "127.0.0.1"

// parseService reads a name of [s4t.KnownServices], or a TCP port.
func parseService(op, s string) (name string, tcpPort int, err error) {
	if tcpPort, ok := s4t.KnownServices[s]; ok {
		return s, tcpPort, nil
	}
	tcpPort, err = strconv.Atoi(s)
	if err != nil || tcpPort < 1 || tcpPort > 65535 || strconv.Itoa(tcpPort) != s {
		return "", 0, s4t.Errorf(s4t.Invalid, op, "give a TCP port from 1 to 65535, or a name like ssh or http", "%q is neither a known service nor a TCP port", s4t.Line(s, s4t.MaxName))
	}
	return s, tcpPort, nil
}

// parseTarget checks a host on the board's side; "" is the board itself.
func parseTarget(op, host string) (string, error) {
	if host == "" || host == "localhost" {
		return defaultTarget, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() {
			return a.Unmap().String(), nil
		}
	} else if len(host) <= 253 && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-._") == "" && !strings.HasPrefix(host, "-") && !strings.HasPrefix(host, ".") {
		return strings.ToLower(host), nil
	}
	return "", s4t.Errorf(s4t.Invalid, op, "give an IP address or a host name of the board's network", "target %q is not a host", s4t.Line(host, s4t.MaxName))
}

// serviceExpose reserves a public port for a TCP service of a board.
func (c *Conductor) serviceExpose(ctx context.Context, req wire.ServiceExpose) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("expose service %s of board %q", s4t.Line(req.Service, s4t.MaxName), req.Board)
	name, tcpPort, err := parseService(op, req.Service)
	if err != nil {
		return s4t.Operation{}, err
	}
	target, err := parseTarget(op, req.Target)
	if err != nil {
		return s4t.Operation{}, err
	}
	dnsName := ""
	if req.DNSName != "" {
		if dnsName, err = s4t.ParseDNSName(op, req.DNSName); err != nil {
			return s4t.Operation{}, err
		}
	}
	return c.operate(ctx, req.Caller, kindExpose, name, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, by, err := ch.findBoard(req.Caller, op, wire.MethodServiceExpose, req.Board)
		if err != nil {
			return nil, err
		}
		rec.Board, rec.Project = b.ID, by.Project
		for _, key := range []s4t.QuotaKey{s4t.QuotaServices, s4t.QuotaPublicPorts} {
			if err := ch.Claim(op, by.Project, key, 1); err != nil {
				return nil, err
			}
		}
		if b, err = ch.LockBoard(b.ID); err != nil {
			return nil, err
		}
		present, err := ch.ServicesOfBoard(b.ID)
		if err != nil {
			return nil, err
		}
		for _, s := range present {
			if s.TCPPort == tcpPort && s.Target == target {
				if s.Project != by.Project {
					return nil, s4t.Errorf(s4t.Conflict, op, "use `s4t connect`", "it is exposed already, for another project")
				}
				return nil, s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("use it, or `s4t service hide %s %s` first", b.Name, s.Name), "it is exposed already, at %s port %d", s.Host, s.PublicPort)
			}
		}
		if len(present) >= s4t.MaxServices {
			return nil, s4t.Errorf(s4t.TooMany, op, "hide one first", "board %q has %d exposed services, which is the most", b.Name, len(present))
		}
		agent, err := ch.placeBoard(op, &b)
		if err != nil {
			return nil, err
		}
		publicPort, err := ch.choosePublicPort(op, agent, req.PublicPort)
		if err != nil {
			return nil, err
		}
		s := store.Service{
			Service: s4t.Service{
				ID: s4t.ServiceID(s4t.NewID()), Project: by.Project, Board: b.Name, BoardID: b.ID, Name: name, TCPPort: tcpPort, Target: target,
				Host: agent.Host, PublicPort: publicPort, DNSName: dnsName, Status: s4t.ServicePending, CreatedAt: ch.now,
			},
			Agent: agent.ID, BoardStatus: b.Status, Lease: by.Lease,
		}
		rec.Object, rec.Detail = string(s.ID), fmt.Sprintf("%s:%d at public port %d", target, tcpPort, publicPort)
		if err := ch.InsertService(s); err != nil {
			return nil, dnsNamed(op, dnsName, err)
		}
		ch.wantService(s)
		if err := ch.wantStreams(b); err != nil {
			return nil, err
		}
		ch.event(s4t.Event{Kind: "service.exposed", Project: s.Project, Object: string(s.ID), Name: s.Name, Board: s.Board, Detail: fmt.Sprintf("public port %d", publicPort)})
		started := ch.begin(kindExpose, by.Project, string(s.ID), s.Name, received, wire.ResourceKey{Kind: wire.KindService, ID: string(s.ID)})
		if req.PublicPort == 0 { // another one will do
			ch.start.op.Retries = portRetries
		}
		return started, nil
	})
}

// choosePublicPort returns the port that was asked for, if the agent has it
// and it is free, or a free one at random: neighbouring services are not to be
// guessed. The database has the last word.
func (ch *change) choosePublicPort(op string, a store.Agent, asked int) (int, error) {
	if a.PublicPorts.Len() == 0 {
		return 0, s4t.Errorf(s4t.Conflict, op, "use `s4t connect` or `s4t ssh`, which need none", "the cloud has no public ports")
	}
	if asked != 0 && !a.PublicPorts.Has(asked) {
		return 0, s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("choose one from %d to %d", a.PublicPorts.First, a.PublicPorts.Last), "public port %d is not one of the cloud's", asked)
	}
	taken, err := ch.TakenPublicPorts(a.ID)
	if err != nil {
		return 0, err
	}
	if asked != 0 {
		if taken[asked] {
			return 0, s4t.Errorf(s4t.Conflict, op, "choose another, or none and let the cloud choose", "public port %d is taken", asked)
		}
		return asked, nil
	}
	n := a.PublicPorts.Len()
	first := rand.IntN(n)
	for i := range n {
		if p := a.PublicPorts.First + (first+i)%n; !taken[p] {
			return p, nil
		}
	}
	return 0, s4t.Errorf(s4t.TooMany, op, "hide a service, or ask the operator for a larger --public-ports", "all %d public ports are taken", n)
}

// portRetries is how many public ports are tried where the first ones cannot be
// opened: another program on the cloud's host may have taken some, be it as
// the local port of a connection it made.
const portRetries = 8

// retryPort gives a service that has never been up another public port.
func (ch *change) retryPort(id string) error {
	s, err := ch.Service(s4t.ServiceID(id))
	if err != nil {
		return err
	}
	agent, err := ch.Agent(s.Agent)
	if err != nil {
		return err
	}
	if s.PublicPort, err = ch.choosePublicPort(fmt.Sprintf("expose service %s of board %q", s.Name, s.Board), agent, 0); err != nil {
		return err
	}
	ch.wantService(s)
	return ch.MoveService(s)
}

// serviceHide closes a public port.
func (c *Conductor) serviceHide(ctx context.Context, req wire.ServiceHide) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("hide service %s of board %q", s4t.Line(req.Service, s4t.MaxName), req.Board)
	return c.operate(ctx, req.Caller, kindHide, req.Service, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, by, err := ch.lockBoard(req.Caller, op, wire.MethodServiceHide, req.Board)
		if err != nil {
			return nil, err
		}
		rec.Board, rec.Project = b.ID, by.Project
		s, err := ch.serviceOf(req.Caller, op, b, req.Service)
		if err != nil {
			return nil, err
		}
		rec.Object, rec.Name = string(s.ID), s.Name
		if err := ch.removeService(s); err != nil {
			return nil, err
		}
		if err := ch.wantStreams(b); err != nil {
			return nil, err
		}
		return ch.begin(kindHide, by.Project, string(s.ID), s.Name, received), nil
	})
}

// serviceOf returns the service of a board that ref, a name, a TCP port or an id, means.
func (ch *change) serviceOf(caller wire.Caller, op string, b store.Board, ref string) (store.Service, error) {
	present, err := ch.ServicesOfBoard(b.ID)
	if err != nil {
		return store.Service{}, err
	}
	var found []store.Service
	for _, s := range present {
		if string(s.ID) == ref || s.Name == ref || strconv.Itoa(s.TCPPort) == ref {
			found = append(found, s)
		}
	}
	return choose(caller, op, "service", ref, found, func(s store.Service) string { return string(s.ID) }, func(s store.Service) s4t.ProjectID { return s.Project })
}

// removeService removes a service from desired state; its public port is free
// again.
func (ch *change) removeService(s store.Service) error {
	ch.unwant(boardOf(s.BoardID), wire.KindService, string(s.ID))
	ch.unwant(agentOf(s.Agent), wire.KindService, string(s.ID))
	ch.event(s4t.Event{Kind: "service.hidden", Project: s.Project, Object: string(s.ID), Name: s.Name, Board: s.Board, Detail: fmt.Sprintf("public port %d", s.PublicPort)})
	return ch.DeleteService(s.ID)
}

// shownService is a service as a user sees it.
func shownService(s store.Service) s4t.Service {
	if s.Status == s4t.ServiceUp {
		s.Problem = ""
	}
	return s.Service
}

// serviceList returns the services that the caller sees, of one board if one
// is named.
func (c *Conductor) serviceList(ctx context.Context, req wire.ServiceList) (wire.List[s4t.Service], error) {
	const op = "list services"
	return list(ctx, c, req.Caller, op, req.Page, shownService, func(tx *store.Tx, p wire.Page) (wire.List[store.Service], error) {
		if req.Board == "" {
			return tx.Services(scope(req.Caller), "", p)
		}
		b, by, err := findBoard(tx, req.Caller, op, wire.MethodServiceList, req.Board)
		if err != nil {
			return wire.List[store.Service]{}, err
		}
		if by.lent() {
			return tx.Services(by.Project, b.ID, p)
		}
		return tx.Services("", b.ID, p)
	})
}

// serviceGet returns a service by id.
func (c *Conductor) serviceGet(ctx context.Context, req wire.RefRequest) (s4t.Service, error) {
	op := fmt.Sprintf("show service %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Service{}, err
	}
	s, err := view(ctx, c, func(tx *store.Tx) (store.Service, error) { return tx.Service(s4t.ServiceID(req.Ref)) })
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return s4t.Service{}, err
	}
	if err != nil || !req.Caller.Sees(s.Project) {
		return s4t.Service{}, s4t.Errorf(s4t.NotFound, op, "`s4t service list` shows what there is", "it does not exist")
	}
	return shownService(s), nil
}
