// Package wamp is the control channel's language: the URIs, a small WAMP
// client for boards, and the msgpack it needs.
//
// WAMP (draft-oberstet-hybi-tp-wamp) is spoken as wamp.2.msgpack, one message
// to a binary WebSocket message. The client is a caller, callee and
// subscriber, no more: a full client library costs a board 7 MB of binary. The
// payload of each call, result and event is one positional argument, a string
// that holds the JSON of a message of package wire.
//
// Only small messages go this way; bulk data goes through data rtunnels.
package wamp
