package main

import (
	"net/http"

	"github.com/stack4things/s4t/api"
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

	d.rtunnel = http.NotFoundHandler()
	return nil
}
