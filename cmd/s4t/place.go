package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/geo"
)

// boardPlaces lists where a board was.
func (a *app) boardPlaces() *cobra.Command {
	return &cobra.Command{Use: "places BOARD", Short: "List where a board was, oldest first", Example: "  s4t board places kitchen\n  s4t board update kitchen --location 38.19,15.55,120 --mobile", Args: exactly(1), ValidArgsFunction: a.completeBoards(1),
		RunE: a.withClient(func(ctx context.Context, c *apiclient.Client, args []string) error {
			l, err := c.Places(ctx, args[0])
			if err != nil {
				return err
			}
			return printList(a, l, func(p s4t.Place) string { return p.Since.Format(time.RFC3339) },
				column[s4t.Place]{"SINCE", func(p s4t.Place) string { return p.Since.Local().Format(time.DateTime) }},
				column[s4t.Place]{"PLACE", func(p s4t.Place) string { return whereText(p.Location) }})
		})}
}

// whereText is a place for people.
func whereText(l s4t.Location) string {
	text := fmt.Sprintf("%g, %g, %g m", l.Latitude, l.Longitude, l.Altitude)
	if l.Mobile {
		text += ", mobile"
	}
	return text
}

// place reads --location and --mobile.
func place(c *cobra.Command, location string, mobile bool) (*s4t.Location, error) {
	l, err := parseLocation(c, "location", location)
	if err != nil {
		return nil, err
	}
	if l == nil {
		if mobile {
			return nil, usage(c, "--mobile goes with --location LAT,LON[,ALT], where it was last")
		}
		return nil, nil
	}
	l.Mobile = mobile
	return l, nil
}

// readArea reads a file of GeoJSON.
func readArea(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "read the area "+name, "", "%w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, geo.MaxArea+1))
	if err == nil {
		_, err = geo.ParseArea(text)
	}
	return text, err
}
