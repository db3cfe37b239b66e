package main

import (
	"net/http"

	"github.com/stack4things/s4t/api"
)

// addDoors constructs the API and the agents.
func (c *cloud) addDoors(cfg config, d *doors) error {
	rest, err := api.New(api.Config{Queue: c.queue, Version: version, Log: c.log})
	if err != nil {
		return err
	}
	d.api = rest.Handler()
	c.doors = append(c.doors, part{"API", rest.Run})

	d.wamp, d.rtunnel = http.NotFoundHandler(), http.NotFoundHandler()
	return nil
}
