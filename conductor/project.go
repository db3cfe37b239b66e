package conductor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// projectUpdate changes what the request names. The weight of a project is in
// the desired state of every tunnel agent that carries its networks, which is
// why it is not identity that does this.
func (c *Conductor) projectUpdate(ctx context.Context, req wire.ProjectUpdate) (s4t.Project, error) {
	op := fmt.Sprintf("update project %q", s4t.Line(req.Ref, s4t.MaxName))
	var p s4t.Project
	err := c.request(ctx, req.Caller, "project.update", s4t.Line(req.Ref, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) (err error) {
		p, err = ch.Project(req.Ref)
		if s4t.KindOf(err) == s4t.NotFound || err == nil && !req.Caller.Sees(p.ID) {
			return s4t.Errorf(s4t.NotFound, op, "see `s4t project list`", "project %q does not exist", s4t.Line(req.Ref, s4t.MaxName))
		}
		if err != nil {
			return err
		}
		rec.Object, rec.Name = string(p.ID), p.Name
		needs := s4t.RoleAdmin
		if req.Weight == nil && len(req.Quota) == 0 { // what a project's manager decides
			needs = s4t.RoleManager
		}
		if err := allow(req.Caller, op, needs); err != nil {
			return err
		}
		if err := ch.setQuotas(op, p.ID, req.Quota, rec); err != nil {
			return err
		}
		if _, told := req.Quota[s4t.QuotaStreams]; told { // tunnel agents hold it
			if err := ch.EachBoard(p.ID, ch.wantStreams); err != nil {
				return err
			}
			if err := ch.streamsLentTo(p.ID); err != nil {
				return err
			}
		}
		if on := req.RecordTerminals; on != nil && *on != p.RecordTerminals {
			p.RecordTerminals = *on
			if err := ch.SetRecordTerminals(p.ID, *on); err != nil {
				return err
			}
			said := map[bool]string{false: "terminals are not recorded", true: "terminals are recorded"}[*on]
			rec.Detail = strings.TrimPrefix(rec.Detail+", "+said, ", ")
		}
		if req.Weight == nil || *req.Weight == p.Weight {
			return nil
		}
		if err := s4t.ValidWeight(op, *req.Weight); err != nil {
			return err
		}
		p.Weight = *req.Weight
		rec.Detail = strings.TrimPrefix(fmt.Sprintf("%s, weight %d", rec.Detail, p.Weight), ", ")
		if err := ch.SetWeight(p.ID, p.Weight); err != nil {
			return err
		}
		return ch.EachNetwork(p.ID, ch.wantNetwork)
	})
	if err == nil {
		err = c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			p.Quota, err = tx.Quotas(p.ID)
			return err
		})
	}
	return p, err
}

// setQuotas writes how much a project may have, in an order that the audit
// shows.
func (ch *change) setQuotas(op string, project s4t.ProjectID, limits map[s4t.QuotaKey]*int64, rec *s4t.AuditRecord) error {
	var said []string
	for _, key := range slices.Sorted(maps.Keys(limits)) {
		limit := limits[key]
		if err := s4t.ValidQuota(op, key, limit); err != nil {
			return err
		}
		if err := ch.SetQuota(project, key, limit); err != nil {
			return err
		}
		text := "default"
		if limit != nil && *limit == s4t.Unlimited {
			text = "unlimited"
		} else if limit != nil {
			text = strconv.FormatInt(*limit, 10)
		}
		said = append(said, fmt.Sprintf("quota %s %s", key, text))
	}
	rec.Detail = strings.Join(said, ", ")
	return nil
}
