package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// booking is the first step of the paper's workflow: the project lab books the two boards of another
// one. What follows is done by who booked them.
func (d *demo) booking(ctx context.Context, _ string) error {
	d.title("Book two boards: s4t offer create, and as another project s4t lease create")
	start := time.Now()
	project, err := d.owner.CreateProject(ctx, apiclient.ProjectCreate{Name: "lab"})
	if err != nil {
		return err
	}
	token, err := d.owner.CreateToken(ctx, apiclient.TokenCreate{Project: string(project.ID), Role: s4t.RoleMember})
	if err != nil {
		return err
	}
	c, err := loadContext(d.cloud.ContextFile())
	if err != nil {
		return err
	}
	d.context = filepath.Join(filepath.Dir(d.cloud.ContextFile()), "lab.toml")
	c.Token, c.Project = token.Secret, project.Name
	if err := (contexts{Current: "lab", Contexts: map[string]cloudContext{"lab": c}}).write(d.context); err != nil {
		return err
	}
	if d.api, err = apiclient.New(apiclient.Config{URL: c.URL, Token: c.Token, CA: c.CA, Dial: d.lab.User.DialContext}); err != nil {
		return err
	}
	if _, err := d.owner.CreateOffer(ctx, apiclient.OfferCreate{Name: "spare", Boards: []string{kitchen, garden}, To: []string{"lab"}, Allow: []string{"ssh", "service", "bridge"}, Max: s4t.Seconds(4 * time.Hour / time.Second)}); err != nil {
		return err
	}
	d.done(start, "project default offers %s and %s to project lab: ssh, service, bridge, for at most 4 h", kitchen, garden)
	if _, err := d.api.Board(ctx, kitchen); s4t.KindOf(err) != s4t.NotFound {
		return fmt.Errorf("lab sees %s before it booked it: %v", kitchen, err)
	}
	start = time.Now()
	held, err := d.api.CreateLease(ctx, apiclient.LeaseCreate{Name: "morning", Boards: []string{kitchen, garden}, For: s4t.Seconds(2 * time.Hour / time.Second)})
	if err != nil {
		return err
	}
	d.done(start, "project lab booked both, all or nothing, until %s", clock(held.Until))
	return nil
}

// givingBack ends the lease: what it made is gone, and the boards are their owner's alone.
func (d *demo) givingBack(ctx context.Context, _ string) error {
	d.title("Give them back: s4t lease release morning")
	to := d.address(garden)
	start := time.Now()
	if _, err := d.cloud.S4T(ctx, "--context-file", d.context, "lease", "release", "morning"); err != nil {
		return err
	}
	d.done(start, "the lease is over, and its operation took back what it made")
	if err := d.until(ctx, 5*time.Second, func() error {
		if err := d.ping(ctx, kitchen, to); err == nil {
			return fmt.Errorf("%s still reaches %s across the bridge", kitchen, to)
		}
		return nil
	}); err != nil {
		return err
	}
	d.ok("no ping crosses the bridge any more")
	for _, s := range d.exposed {
		if err := d.until(ctx, 5*time.Second, func() error {
			c, err := d.lab.User.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", s.Host, s.PublicPort))
			if err != nil {
				return nil
			}
			c.Close()
			return fmt.Errorf("public port %d still answers", s.PublicPort)
		}); err != nil {
			return err
		}
	}
	if out, err := d.cloud.S4T(ctx, "--context-file", d.context, "ssh", kitchen, "--user", "root", "--identity", d.sshd[kitchen].Key, "--", "true"); err == nil {
		return fmt.Errorf("lab still reaches %s: %s", kitchen, out)
	}
	d.ok("nor do the public ports answer, nor does s4t ssh let lab in")
	out, err := d.cloud.S4T(ctx, "who-can", kitchen, "-o", "name")
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out); got != "default" {
		return fmt.Errorf("who can use %s: %q", kitchen, got)
	}
	d.ok("s4t who-can %s: default, its owner, and nobody else", kitchen)
	return nil
}
