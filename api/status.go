package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// statusRoutes are how boards are, and were.
func (a *API) statusRoutes() {
	register(a, guarded, "GET /v1/boards/{board}/status", "board.status", "Show how a board is",
		"Load, memory, disk, temperature, network and uptime as the board said them last, 24 hours of them in points of five minutes, its newest outages, and its availability over 30 days.",
		func(ctx context.Context, in *boardRef) (*answered[s4t.BoardHealth], error) {
			return get[s4t.BoardHealth](ctx, a, wire.MethodHealthGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
		})
	register(a, guarded, "GET /v1/boards/{board}/outages", "board.outages", "List the outages of a board", "Newest first: the 200 newest of those that ended within 30 days.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
			PageQuery
		}) (*listed[s4t.Outage], error) {
			return list[s4t.Outage](ctx, a, &in.PageQuery, wire.MethodOutageList, wire.OutageList{Caller: callerOf(ctx), Board: in.Board, Page: in.page()})
		})
}

// health adds the figures of a board, as it said them last.
func (f *families) health(b wire.BoardMetrics) {
	labels := []string{"board", b.Name, "board_id", string(b.ID), "project", string(b.Project)}
	up := 0
	if b.Status == s4t.BoardOnline {
		up = 1
	}
	f.add("s4t_board_up", "gauge", "Whether a board has a session", up, labels...)
	h := b.Health
	if h == nil {
		return
	}
	f.add("s4t_board_reported_timestamp_seconds", "gauge", "When a board said the rest", b.At.Unix(), labels...)
	f.add("s4t_board_load1", "gauge", "Processes that run or want to, over a minute", h.Load1, labels...)
	f.add("s4t_board_memory_used_bytes", "gauge", "Memory that is not available", h.MemoryUsed, labels...)
	f.add("s4t_board_memory_total_bytes", "gauge", "Memory", h.MemoryTotal, labels...)
	f.add("s4t_board_disk_used_bytes", "gauge", "Used of the file system of lightning-rod's state", h.DiskUsed, labels...)
	f.add("s4t_board_disk_total_bytes", "gauge", "Size of that file system", h.DiskTotal, labels...)
	if h.Temperature != nil {
		f.add("s4t_board_temperature_celsius", "gauge", "Of the hottest thermal zone", *h.Temperature, labels...)
	}
	f.add("s4t_board_received_bytes_total", "counter", "By all interfaces but lo, since the board booted", h.ReceivedBytes, labels...)
	f.add("s4t_board_sent_bytes_total", "counter", "By all interfaces but lo, since the board booted", h.SentBytes, labels...)
	f.add("s4t_board_uptime_seconds", "gauge", "Since the board booted", h.Uptime, labels...)
	f.add("s4t_board_agent_uptime_seconds", "gauge", "Since its lightning-rod started", h.AgentUptime, labels...)
	f.add("s4t_board_agent_info", "gauge", "Always 1, with the version of lightning-rod", 1, append(labels, "version", h.Version)...)
}
