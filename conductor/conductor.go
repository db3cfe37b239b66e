package conductor

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lograte"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Queue is what the conductor needs of a queue driver; package queue says what
// each method promises.
type Queue interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
	Cast(ctx context.Context, topic, method string, req any) error
	Fanout(ctx context.Context, topic, method string, req any) error
	Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error
}

// Config of a [Conductor].
type Config struct {
	Store         *store.DB          // required; the caller closes it
	Queue         Queue              // required
	TicketKey     ed25519.PrivateKey // required: signs tickets; several conductors share it
	URLs          []string           // optional: where boards are sent while fewer than two WAMP agents are known, https://host:port, in order of preference; default: to the agents that are online
	APIURL        string             // optional: of the API, https://host:port, that plugins call; empty: it is at URLs
	CAFingerprint func() string      // optional: SHA-256 of the CA certificate's DER, hex; empty: boards trust their system's roots
	Trust         func() wire.Trust  // optional: what boards are told to trust as the cloud's certificate, now
	Resolver      Resolver           // optional: of the names in URLs; default the system's
	Mux           queue.Mux          // optional: what else is served on the conductor's topic (identity registers its methods there); New adds the conductor's own
	Name          string             // optional: server name on the topic, when there are several conductors
	Version       string             // optional: of the cloud; boards with an older one are told of
	Now           func() time.Time   // optional: default time.Now
	Log           *slog.Logger       // optional: default discards
}

// Conductor is the only writer of desired state. Nothing that must be true is
// in its memory: any number of them may run on one database. See [New].
type Conductor struct {
	cfg      Config
	news     *news
	notes    chan note
	refusals *s4t.Budgets // of audit records of what was refused: of each user of each project
	upkept   upkept
	lookups  lookups
	connects *gather[connecting, welcomed]
	reports  *gather[wire.BoardReport, wire.Empty]

	identities *gather[s4t.BoardID, wire.BoardIdentity]
	ends       *gather[wire.BoardDisconnected, wire.Empty]
	fleet      fleet
	around     around
	stuck      lograte.Line // services that do not move
	questions  *questions

	pinQuestions *questions // about pins

	commandQuestions *questions // about commands
	fleetRuns        *questions // commands of fleets
	bundleReads      *questions // bundles that are read to their end
	commandLookups   *gather[commandLookup, foundCommand]
	records          *gather[runRecord, recordedRun]
	healths          *gather[wire.HealthReport, wire.HealthHeard]
	later            *laterHealths
	codes            codes
	settles          settles
	backPins         chan struct{} // of capacity 1: pins of leases that are over are to be given back
	rollouts         chan struct{} // of capacity 1: rollouts are to be looked at
}

const (
	// upkeepInterval is how often deadlines are looked at.
	upkeepInterval = time.Second
)

// lanes are the topics, and how many requests of each are handled at a time.
// Most take a millisecond of the database; questions wait for others.
var lanes = map[string]int{wire.TopicConductor: 128, wire.TopicQuestions: 64, wire.TopicBoards: 128, wire.TopicAgents: 32, wire.TopicPins: pinWorkers, wire.TopicCommands: pinWorkers, wire.TopicBundles: bundleWorkers}

// New checks cfg and adds the conductor's methods to cfg.Mux. It does nothing
// else until Run.
func New(cfg Config) (*Conductor, error) {
	const op = "construct the conductor"
	switch {
	case cfg.Store == nil || cfg.Queue == nil:
		return nil, s4t.Errorf(s4t.Internal, op, "", "Store and Queue are required")
	case len(cfg.TicketKey) != ed25519.PrivateKeySize:
		return nil, s4t.Errorf(s4t.Internal, op, "", "TicketKey has %d bytes, %d are needed", len(cfg.TicketKey), ed25519.PrivateKeySize)
	}
	if cfg.Mux == nil {
		cfg.Mux = queue.Mux{}
	}
	if cfg.Resolver == nil {
		cfg.Resolver = defaultResolver
	}
	if cfg.CAFingerprint == nil {
		cfg.CAFingerprint = func() string { return "" }
	}
	if cfg.Trust == nil {
		cfg.Trust = func() wire.Trust { return wire.Trust{} }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Conductor{
		cfg: cfg, news: newNews(), around: around{again: make(chan struct{}, 1)}, notes: make(chan note, stepQueueLen), refusals: s4t.NewBudgets(60, time.Second, 10_000),
		upkept: upkept{holder: newHolder(cfg.Name)}, questions: newQuestions(maxQuestions), pinQuestions: newQuestions(maxPinQuestions),
		commandQuestions: newQuestions(maxCommandQuestions), fleetRuns: newQuestions(maxFleetRuns), codes: newCodes(), settles: newSettles(),
		bundleReads: newQuestions(maxBundleReads), later: newLaterHealths(), backPins: make(chan struct{}, 1), rollouts: make(chan struct{}, 1),
	}
	c.connects = &gather[connecting, welcomed]{run: c.beginSessions}
	c.identities = &gather[s4t.BoardID, wire.BoardIdentity]{run: c.identify}
	c.ends = &gather[wire.BoardDisconnected, wire.Empty]{run: c.endSessions}
	c.reports = &gather[wire.BoardReport, wire.Empty]{run: c.boardReports}
	c.commandLookups = &gather[commandLookup, foundCommand]{run: c.findCommands}
	c.records = &gather[runRecord, recordedRun]{run: c.recordRuns}
	c.healths = &gather[wire.HealthReport, wire.HealthHeard]{run: c.hearHealths}
	c.Register(cfg.Mux)
	return c, nil
}

// Register adds every method of the conductor to mux. New does it for
// Config.Mux.
func (c *Conductor) Register(mux queue.Mux) {
	maps.Copy(mux, queue.Mux{
		wire.MethodAgentHello:   queue.Handle(c.agentHello),
		wire.MethodAgentBeat:    queue.Handle(c.agentBeat),
		wire.MethodAgentsCame:   queue.Handle(c.agentsCame),
		wire.MethodAgentsList:   queue.Handle(c.agentsList),
		wire.MethodAgentsGet:    queue.Handle(c.agentsGet),
		wire.MethodAgentsDrain:  queue.Handle(c.agentsDrain),
		wire.MethodTunnelAsk:    queue.Handle(c.tunnelDesired),
		wire.MethodTunnelReport: queue.Handle(c.tunnelReport),
		wire.MethodTunnelTicket: queue.Handle(c.tunnelTicket),
		wire.MethodTunnelEvent:  queue.Handle(c.tunnelEvent),

		wire.MethodProcessBeat: queue.Handle(c.processBeat),
		wire.MethodCloudHosts:  queue.Handle(c.cloudHosts),

		wire.MethodBoardAuthenticate: queue.Handle(c.boardAuthenticate),
		wire.MethodBoardJoin:         queue.Handle(c.boardJoin),
		wire.MethodBoardJoinCheck:    queue.Handle(c.boardJoinCheck),
		wire.MethodBoardConnected:    queue.Handle(c.boardConnected),
		wire.MethodBoardDisconnected: queue.Handle(c.boardDisconnected),
		wire.MethodBoardDesired:      queue.Handle(c.boardDesired),
		wire.MethodBoardReport:       queue.Handle(c.boardReport),
		wire.MethodBoardTicket:       queue.Handle(c.boardTicket),
		wire.MethodBoardLeave:        queue.Handle(c.boardLeave),
		wire.MethodBoardWoken:        queue.Handle(c.boardWoken),

		wire.MethodBoardPins:   queue.Handle(c.boardPins),
		wire.MethodBoardRemote: queue.Handle(c.boardRemote),
		wire.MethodPinAsk:      queue.Handle(c.pinAsk),
		wire.MethodPinAll:      queue.Handle(c.pinAll),
		wire.MethodPinWatch:    queue.Handle(c.pinWatch),

		wire.MethodBoardCode:    queue.Handle(c.takeCode),
		wire.MethodBoardProfile: queue.Handle(c.boardProfile),

		wire.MethodBoardHealth: queue.Handle(c.boardHealth),
		wire.MethodHealthGet:   queue.Handle(c.healthGet),
		wire.MethodHealthAll:   queue.Handle(c.healthAll),
		wire.MethodOutageList:  queue.Handle(c.outageList),

		wire.MethodBoardRuns:     queue.Handle(c.boardRuns),
		wire.MethodCommandRun:    queue.Handle(c.commandRun),
		wire.MethodCommandFleet:  queue.Handle(c.commandFleet),
		wire.MethodCommandList:   queue.Handle(c.commandList),
		wire.MethodCommandGet:    queue.Handle(c.commandGet),
		wire.MethodCommandCancel: queue.Handle(c.commandCancel),
		wire.MethodBoardAsk:      queue.Handle(c.boardAsk),
		wire.MethodFeedFollow:    queue.Handle(c.feedFollow),

		wire.MethodProjectUpdate: queue.Handle(c.projectUpdate),

		wire.MethodBoardCreate:   queue.Handle(c.boardCreate),
		wire.MethodBoardList:     queue.Handle(c.boardList),
		wire.MethodBoardGet:      queue.Handle(c.boardGet),
		wire.MethodBoardUpdate:   queue.Handle(c.boardUpdate),
		wire.MethodBoardDelete:   queue.Handle(c.boardDelete),
		wire.MethodBoardTransfer: queue.Handle(c.boardTransfer),
		wire.MethodBoardClaim:    queue.Handle(c.boardClaim),
		wire.MethodBoardDoctor:   queue.Handle(c.boardDoctor),

		wire.MethodFleetCreate: queue.Handle(c.fleetCreate),
		wire.MethodFleetList:   queue.Handle(c.fleetList),
		wire.MethodFleetGet:    queue.Handle(c.fleetGet),
		wire.MethodFleetUpdate: queue.Handle(c.fleetUpdate),
		wire.MethodFleetDelete: queue.Handle(c.fleetDelete),

		wire.MethodFleetTokenCreate: queue.Handle(c.fleetTokenCreate),
		wire.MethodFleetTokenList:   queue.Handle(c.fleetTokenList),
		wire.MethodFleetTokenRevoke: queue.Handle(c.fleetTokenRevoke),

		wire.MethodRolloutCreate: queue.Handle(c.rolloutCreate),
		wire.MethodRolloutList:   queue.Handle(c.rolloutList),
		wire.MethodRolloutGet:    queue.Handle(c.rolloutGet),
		wire.MethodRolloutResume: queue.Handle(c.rolloutResume),
		wire.MethodRolloutAbort:  queue.Handle(c.rolloutAbort),

		wire.MethodOfferCreate:    queue.Handle(c.offerCreate),
		wire.MethodOfferList:      queue.Handle(c.offerList),
		wire.MethodOfferGet:       queue.Handle(c.offerGet),
		wire.MethodOfferDelete:    queue.Handle(c.offerDelete),
		wire.MethodLeaseCreate:    queue.Handle(c.leaseCreate),
		wire.MethodLeaseList:      queue.Handle(c.leaseList),
		wire.MethodLeaseGet:       queue.Handle(c.leaseGet),
		wire.MethodLeaseExtend:    queue.Handle(c.leaseExtend),
		wire.MethodLeaseRelease:   queue.Handle(c.leaseRelease),
		wire.MethodLeaseShare:     queue.Handle(c.leaseShare),
		wire.MethodWhoCan:         queue.Handle(c.whoCan),
		wire.MethodBoardSearch:    queue.Handle(c.boardSearch),
		wire.MethodBoardPlaces:    queue.Handle(c.boardPlaces),
		wire.MethodCalendarCreate: queue.Handle(c.calendarCreate),
		wire.MethodCalendarRead:   queue.Handle(c.calendarRead),
		wire.MethodBookingList:    queue.Handle(c.bookingList),

		wire.MethodBridgeCreate: queue.Handle(c.bridgeCreate),
		wire.MethodBridgeList:   queue.Handle(c.bridgeList),
		wire.MethodBridgeGet:    queue.Handle(c.bridgeGet),
		wire.MethodBridgeDelete: queue.Handle(c.bridgeDelete),
		wire.MethodBridgeAdd:    queue.Handle(c.bridgeAdd),
		wire.MethodBridgeRemove: queue.Handle(c.bridgeRemove),
		wire.MethodNetworkList:  queue.Handle(c.networkList),
		wire.MethodNetworkGet:   queue.Handle(c.networkGet),
		wire.MethodAttachGRE:    queue.Handle(c.attachGRE),
		wire.MethodDetachGRE:    queue.Handle(c.detachGRE),
		wire.MethodUplinkSet:    queue.Handle(c.uplinkSet),
		wire.MethodUplinkRemove: queue.Handle(c.uplinkRemove),
		wire.MethodSubnetList:   queue.Handle(c.subnetList),
		wire.MethodSubnetGet:    queue.Handle(c.subnetGet),
		wire.MethodPortList:     queue.Handle(c.portList),
		wire.MethodPortGet:      queue.Handle(c.portGet),
		wire.MethodNetworkPorts: queue.Handle(c.networkPorts),

		wire.MethodServiceExpose: queue.Handle(c.serviceExpose),
		wire.MethodServiceList:   queue.Handle(c.serviceList),
		wire.MethodServiceGet:    queue.Handle(c.serviceGet),
		wire.MethodServiceHide:   queue.Handle(c.serviceHide),
		wire.MethodServiceUpdate: queue.Handle(c.serviceUpdate),
		wire.MethodServiceLookup: queue.Handle(c.serviceLookup),
		wire.MethodAgentsReach:   queue.Handle(c.agentsReach),
		wire.MethodStreamOpen:    queue.Handle(c.streamOpen),

		wire.MethodBoardRecording:  queue.Handle(c.boardRecording),
		wire.MethodRecordingList:   queue.Handle(c.recordingList),
		wire.MethodRecordingRead:   queue.Handle(c.recordingRead),
		wire.MethodRecordingDelete: queue.Handle(c.recordingDelete),

		wire.MethodPluginCreate: queue.Handle(c.pluginCreate),
		wire.MethodPluginList:   queue.Handle(c.pluginList),
		wire.MethodPluginGet:    queue.Handle(c.pluginGet),
		wire.MethodPluginDelete: queue.Handle(c.pluginDelete),
		wire.MethodPluginInject: queue.Handle(c.pluginInject),
		wire.MethodPluginAct:    queue.Handle(c.pluginAct),
		wire.MethodPluginStatus: queue.Handle(c.pluginStatus),
		wire.MethodBundlePut:    queue.Handle(c.bundlePut),
		wire.MethodBundleGet:    queue.Handle(c.bundleGet),

		wire.MethodBoardPluginToken: queue.Handle(c.pluginToken),

		wire.MethodOperationList: queue.Handle(c.operationList),
		wire.MethodOperationGet:  queue.Handle(c.operationGet),
		wire.MethodOperationDone: queue.Handle(c.operationDone),
		wire.MethodOperationFeed: queue.Handle(c.operationFeed),
		wire.MethodMetrics:       queue.Handle(c.metrics),
		wire.MethodEventList:     queue.Handle(c.eventList),
		wire.MethodEventFeed:     queue.Handle(c.eventFeed),
	})
}

// now is the conductor's clock, in UTC as everything is shown.
func (c *Conductor) now() time.Time { return c.cfg.Now().UTC() }

// Run serves the conductor's topics until ctx ends. Everything it started has
// ended when it returns; it returns nil after ctx has ended. Run is called
// once.
func (c *Conductor) Run(ctx context.Context) error {
	if err := c.fillRealizations(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { c.tellNews(ctx); return nil })
	group.Go(func() error { c.noteSteps(ctx); return nil })
	group.Go(func() error { c.writeHealths(ctx); return nil })
	group.Go(func() error { c.keepUp(ctx); return nil })
	group.Go(func() error { c.lookAround(ctx); return nil })
	group.Go(func() error { c.givePinsBack(ctx); return nil })
	group.Go(func() error { c.rollOn(ctx); return nil })
	for range settlers {
		group.Go(func() error { c.settleBoards(ctx); return nil })
	}
	for topic, workers := range lanes {
		mux := queue.Mux{}
		for method, h := range c.cfg.Mux {
			if wire.TopicOf(method) == topic {
				mux[method] = c.vouched(topic, method, h)
			}
		}
		group.Go(func() error { return c.cfg.Queue.Serve(ctx, topic, c.cfg.Name, workers, mux.Serve) })
	}
	return group.Wait()
}

// view runs fn in a transaction that reads.
func view[T any](ctx context.Context, c *Conductor, fn func(tx *store.Tx) (T, error)) (T, error) {
	var v T
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		v, err = fn(tx)
		return err
	})
	return v, err
}
