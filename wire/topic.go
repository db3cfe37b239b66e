package wire

import "strings"

// Topics of the queue. An agent serves its topics with its ID as the server
// name: TopicWAMPAgent + "." + id reaches that one.
//
// Each topic has its own queue and its own workers, so that one kind of work
// never waits behind another: beats and wakes behind users, users behind
// boards that all come at once, anybody behind a board that does not answer.
const (
	TopicConductor = "conductor"           // what users ask, from the API
	TopicQuestions = "conductor-questions" // what users ask that waits for a board or an agent
	TopicBoards    = "conductor-boards"    // what boards ask, from the WAMP agents
	TopicAgents    = "conductor-agents"    // agents themselves: hello, beat, desired state, reports

	TopicWAMPAgent     = "wamp-agent"           // wakes, pings, kicks
	TopicWAMPQuestions = "wamp-agent-questions" // questions that a board may hold
	TopicTunnelAgent   = "tunnel-agent"

	TopicPins     = "conductor-pins"  // what users and boards ask of pins: it waits for a board, and there is much of it
	TopicWAMPPins = "wamp-agent-pins" // the same, at the board's WAMP agent; and samples for boards that watch
	TopicAPIPins  = "api-pins"        // samples for an API process that watches; its server name is made anew by every start

	TopicCommands     = "conductor-commands"  // what users ask of the code on boards: it waits for a board, and there is much of it
	TopicWAMPCommands = "wamp-agent-commands" // the same, at the board's WAMP agent
	TopicAPIFeeds     = "api-feeds"           // lines for an API process that follows; its server name is made anew by every start
	TopicBundles      = "conductor-bundles"   // parts of bundles

	TopicEvents = "events" // fan-out of [News], from every conductor to every API
)

// TopicOf is the conductor's topic that a method is served on.
func TopicOf(method string) string {
	switch method {
	case MethodBoardDoctor, MethodStreamOpen, MethodMetrics, MethodPortGet, MethodNetworkPorts:
		return TopicQuestions
	case MethodBoardRemote: // it waits for another board
		return TopicPins
	case MethodPluginStatus:
		return TopicCommands
	case MethodPluginCreate: // it reads the bundle
		return TopicBundles
	}
	switch noun, _, _ := strings.Cut(method, "."); noun {
	case "session":
		return TopicBoards
	case "agent", "tunnel", "process":
		return TopicAgents
	case "pin":
		return TopicPins
	case "command", "feed":
		return TopicCommands
	case "bundle":
		return TopicBundles
	}
	return TopicConductor
}
