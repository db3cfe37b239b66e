package main

import (
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/tunnelagent"
	"github.com/stack4things/s4t/wampagent"
)

// addDoors constructs the API and the agents.
func (c *cloud) addDoors(cfg config, d *doors) error {
	rest, err := api.New(api.Config{Queue: c.queue, Version: version, Log: c.log})
	if err != nil {
		return err
	}
	d.api = rest.Handler()
	c.doors = append(c.doors, part{"API", rest.Run})

	sessions, err := wampagent.New(wampagent.Config{ID: wampAgentID, URL: c.place.url, Queue: c.queue, Log: c.log})
	if err != nil {
		return err
	}
	d.wamp = sessions.Handler()
	c.doors = append(c.doors, part{"WAMP agent", sessions.Run})
	c.ready = append(c.ready, sessions.Ready())

	frames, err := tunnelagent.New(tunnelagent.Config{
		ID: tunnelAgentID, URL: c.place.url, Queue: c.queue, Validate: link.Validate,
		Host: c.place.host, ListenHost: c.place.bind, PublicPorts: cfg.PublicPorts, Log: c.log,
	})
	if err != nil {
		return err
	}
	d.rtunnel = frames
	c.doors = append(c.doors, part{"tunnel agent", frames.Run})
	c.ready = append(c.ready, frames.Ready())
	return nil
}
