# Stack4Things. `make help` lists what there is.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# With an empty build cache the compiler is most of `make demo`. The programs
# are stripped, so nothing is compiled for debuggers; the codec behind the
# embedded WAMP router comes without 5 MB of unrolled code, which its few
# small messages do not need; the compiler collects its garbage less often.
TAGS    := codec.notmono codec.notfastpath
GOGC    ?= 400
BUILD   := CGO_ENABLED=0 GOGC=$(GOGC) $(GO) build -trimpath -tags '$(TAGS)' -gcflags all=-dwarf=false -ldflags '$(LDFLAGS)'
BOARDS  := linux/amd64 linux/arm64 linux/arm/6 linux/mipsle/softfloat linux/riscv64

# For MIPS routers, whose flash is small: functions are inlined only where bytes
# move and in the runtime, which is 1.1 MB less. What is linked into lightning-rod
# sorts structs by sort.Slice: slices.SortFunc is 12 KB of code for each type.
INLINED := runtime internal/runtime/... crypto/internal/fips140deps/... vendor/golang.org/x/crypto/... \
	$(addprefix crypto/internal/fips140/,aes/... sha256 sha512 subtle alias bigmod edwards25519/...) \
	$(addprefix github.com/stack4things/s4t/,rtunnel vswitch rawio)
SMALL   := -gcflags 'all=-dwarf=false -l' $(foreach p,$(INLINED),-gcflags $(p)=-dwarf=false)

# The commit whose programs `make test-upgrade` begins with, unless BASE says another.
UPGRADED := 117a7a1

# Runs a command with a Node.js that is new enough for the dashboard.
NODE := $(CURDIR)/scripts/node $(CURDIR)/bin/node

# The packages whose tests take longest, and mostly wait: they begin first, and the others run beside them.
LONGEST := ./internal/cloudtest ./conductor ./plugin ./api
UNRACED := ^TestWhoTakesAllLeavesOthersServed$$

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4

.DEFAULT_GOAL := build
.PHONY: build demo demo-cluster test test-postgres test-unraced vet test-cluster test-upgrade unit e2e test-faults test-idle test-vm test-peers test-rabbit4 test-postgres17 fuzz corpus bench bench-pins bench-guests bench-journal bench-commands bench-state bench-connects bench-list bench-leases bench-scale bench-peers test-scale dashboard test-dashboard screenshots bench-dashboard lint cross deps golden clean help

## build: the three programs into bin/
build:
	@mkdir -p bin
	$(BUILD) -o bin/ ./cmd/iotronic ./cmd/lightning-rod ./cmd/s4t

## demo: the paper's workflow on this machine, with real traffic (needs root)
demo:
	@scripts/deps demo
	@$(MAKE) --no-print-directory build
	bin/s4t demo $(DEMO)

## demo-cluster: a cloud of six processes on three machines (namespaces here) with RabbitMQ and PostgreSQL; one of each role is killed, and all heals (needs root)
demo-cluster:
	@scripts/deps cluster
	@$(MAKE) --no-print-directory build
	@cd e2e && S4T_NO_SKIPS=1 S4T_DEMO_CLUSTER=1 S4T_BIN=$(CURDIR)/bin $(GO) test -count 1 -timeout 10m -run '^TestDemoCluster$$'

## test-cluster: a day of faults in a quarter of an hour: each process, the broker and the database of a cloud are killed, halted and cut off in random order under load; DURATION=90s for less, SEED=N for the same order (needs root)
test-cluster:
	@scripts/deps cluster
	@$(MAKE) --no-print-directory build
	@cd e2e && S4T_NO_SKIPS=1 S4T_DRILL=$(or $(DURATION),15m) S4T_SEED=$(SEED) S4T_BIN=$(CURDIR)/bin $(GO) test -count 1 -timeout 2h -run '^TestCluster$$'

## test-upgrade: a cloud of the programs of the commit BASE becomes one of today's, process by process, under load (needs root)
test-upgrade:
	@scripts/deps cluster
	@$(MAKE) --no-print-directory build
	@rm -rf bin/base && mkdir -p bin/base && git archive $(or $(BASE),$(UPGRADED)) | tar -x -C bin/base
	@$(MAKE) --no-print-directory -C bin/base build VERSION=$(or $(BASE),$(UPGRADED))
	@find bin/base -mindepth 1 -maxdepth 1 ! -name bin -exec rm -rf {} + # the sources are no part of this tree
	@cd e2e && S4T_NO_SKIPS=1 S4T_UPGRADE_FROM=$(CURDIR)/bin/base/bin S4T_BIN=$(CURDIR)/bin $(GO) test -count 1 -timeout 15m -run '^TestUpgrade$$'

## test: every test; installs what it needs (without PostgreSQL and RabbitMQ it fails)
test:
	@scripts/deps test
	@$(MAKE) --no-print-directory build
	S4T_NO_SKIPS=1 $(GO) test -race -p 3 -timeout 20m -skip '$(UNRACED)' $(LONGEST) $$($(GO) list ./... | grep -v -e '/e2e$$' -e '/store$$')
	@$(MAKE) --no-print-directory -j2 --output-sync=target test-postgres vet test-unraced test-dashboard
	@scripts/wot bin/wot
	S4T_NO_SKIPS=1 S4T_BIN=$(CURDIR)/bin S4T_WOT=$(CURDIR)/bin/wot $(NODE) $(GO) test -timeout 20m -parallel 5 ./e2e # those at a time mostly wait

# The conductor's tests on the other engine, which mostly wait for it.
test-postgres:
	S4T_NO_SKIPS=1 S4T_TEST_ENGINE=postgres $(GO) test -timeout 10m ./conductor

# Without the race detector: the store, whose code the conductor's tests run with it, and what is about time and
# load, not about races.
test-unraced:
	S4T_NO_SKIPS=1 $(GO) test -timeout 10m ./store
	S4T_NO_SKIPS=1 $(GO) test -timeout 10m -run '$(UNRACED)' ./internal/cloudtest

# Allocations are not counted under the race detector.
vet:
	$(GO) vet ./...
	$(GO) test -run Allocate ./rtunnel/... ./vswitch ./lightningrod

## dashboard: builds the dashboard's bundle, dashboard/dist, which is committed (npm; its registry the first time)
dashboard:
	@scripts/deps dashboard
	@$(NODE) scripts/dashboard build
	@$(GO) test -count 1 ./dashboard -run TheBundle -update

## test-dashboard: the dashboard's types, checks and tests, its bundle built anew and compared byte by byte, and what a browser loads first
test-dashboard:
	@scripts/deps dashboard
	$(NODE) scripts/dashboard test bin/dashboard

## screenshots: writes docs/pictures from a cloud with boards (root, Chromium)
screenshots:
	@scripts/deps browser
	@$(MAKE) --no-print-directory build
	@$(NODE) scripts/dashboard install
	@cd e2e && S4T_NO_SKIPS=1 S4T_PICTURES=$(CURDIR)/docs/pictures S4T_BIN=$(CURDIR)/bin $(NODE) $(GO) test -v -count 1 -timeout 10m -run '^TestPictures$$'

## test-peers: eKuiper, built from its own source (minutes, once), reads a mounted tree of pins
test-peers: build
	@scripts/deps test
	@scripts/ekuiper bin/ekuiper
	S4T_BIN=$(CURDIR)/bin S4T_EKUIPER=$(CURDIR)/bin/ekuiper $(GO) test -v -count 1 -timeout 5m -run TestEKuiper ./e2e

## test-postgres17: the tests of the database and of the conductor on PostgreSQL 17, of Debian 13 (root)
test-postgres17:
	S4T_NO_SKIPS=1 scripts/postgres17 bin/postgres17 $(GO) test -count 1 -timeout 20m ./store
	S4T_NO_SKIPS=1 S4T_TEST_ENGINE=postgres scripts/postgres17 bin/postgres17 $(GO) test -count 1 -timeout 20m ./conductor

## test-rabbit4: the queue's tests on the RabbitMQ of Debian 13 (4.0), in a root of its own
test-rabbit4:
	@mkdir -p bin
	@scripts/debian13 bin/rabbit4 rabbitmq-server sed grep hostname procps util-linux gawk
	S4T_NO_SKIPS=1 S4T_RABBIT_ROOT=$(CURDIR)/bin/rabbit4 $(GO) test -race -v -count 1 -timeout 5m ./queue/amqp

## unit: the tests that need no real processes
unit:
	$(GO) test -race $$($(GO) list ./... | grep -v '/e2e$$')

## e2e: the tests with real processes in namespaces (root); RUN=TestName for one
e2e: build
	S4T_BIN=$(CURDIR)/bin $(GO) test -v -timeout 14m $(if $(RUN),-run '$(RUN)') ./e2e

## test-faults: kills, cuts and floods; writes docs/reliability.md
test-faults: build
	S4T_BIN=$(CURDIR)/bin S4T_RELIABILITY=$(CURDIR)/docs/reliability.md $(GO) test -v -count 1 -timeout 60m -run 'TestFault' ./e2e
	$(GO) test -count 1 -timeout 20m ./internal/cloudtest -skip 'TestTwoOfEachRole|TestWhoTakesAll' -rapid.checks 50 -rapid.steps 50
	S4T_NO_SKIPS=1 $(GO) test -count 1 -timeout 40m ./internal/cloudtest -run TestTwoOfEachRole -rapid.checks 25 -rapid.steps 50
	S4T_P99=1 $(GO) test -v -count 1 -timeout 10m ./internal/cloudtest -run TestWhoTakesAll

## test-idle: what an idle layer-2 network of 50 boards costs each of them
test-idle: build
	S4T_BIN=$(CURDIR)/bin S4T_IDLE_BOARDS=50 $(GO) test -v -count 1 -run 'TestAnIdleNetworkCostsLittle' ./e2e

## test-vm: in a virtual machine a kernel's gretap against a board, its pins and sensors, and cgroup v2 (installs qemu; GOLDEN=gre/testdata keeps its packets)
test-vm: build
	@scripts/deps vm
	@scripts/vm-kernel bin/vm
	@scripts/vm-modules bin/vm
	S4T_BIN=$(CURDIR)/bin S4T_VM=$(CURDIR)/bin/vm S4T_GRE_GOLDEN=$(if $(GOLDEN),$(abspath $(GOLDEN))) $(GO) test -v -count 1 -timeout 15m -run TestVM ./e2e

## fuzz: every fuzz target for 60 s (FUZZTIME=10s for less)
fuzz:
	scripts/fuzz $(FUZZTIME)

## corpus: keeps what fuzzing found on this machine in testdata/fuzz
corpus:
	scripts/corpus

## bench: throughput, latency, memory, connections/s; writes docs/performance.md
bench:
	@scripts/deps bench
	@$(MAKE) --no-print-directory build
	$(GO) run ./bench -bin bin $(BENCH)

## bench-pins: what pins cost as files, beside another FUSE library, and through the cloud; writes docs/performance-tree.md and docs/performance-pins.md
bench-pins: build
	$(GO) run ./bench/tree $(BENCH)
	$(GO) run ./bench/pins -bin bin $(BENCH)

## bench-journal: commands a second that a board's journal takes, on flash and on this disk
bench-journal:
	$(GO) test -run '^$$' -bench . -benchtime 3s ./plugin/journal

## bench-guests: whether stress-ng gets more than it was given (root, a minute of a machine with time to spare)
bench-guests: build
	@scripts/deps guests
	S4T_STRESS=1 $(GO) test -v -count 1 -timeout 10m -run TestStress ./plugin

## bench-commands: commands, bundles and guests with the real programs, and the cloud's part alone; ORIGINAL=DIR: beside the original's lightning-rod, its sources; writes docs/performance-commands.md (root, five minutes)
bench-commands:
	@scripts/deps commands
	@[ -z '$(ORIGINAL)' ] || scripts/deps original
	@$(MAKE) --no-print-directory build
	$(BUILD) -tags '$(TAGS) nowasi' -o bin/nowasi/ ./cmd/lightning-rod
	$(GO) run ./bench/code -bin bin -original '$(ORIGINAL)' $(BENCH)

## bench-state: what the cloud's state costs, beside the build of the commit BASE; writes docs/performance-state.md
bench-state:
	@scripts/deps state
	$(GO) run ./bench/state -base '$(BASE)' $(BENCH)

## bench-connects: how many boards begin sessions in a second, on SQLite and PostgreSQL
bench-connects:
	$(GO) test -run '^$$' -bench Connects -benchtime 20x ./conductor

## bench-dashboard: what the dashboard's pages cost: first load, 10,000 boards, an hour of events, steps and losses to the pixel (root, Chromium, a quiet machine)
bench-dashboard:
	@scripts/deps browser
	@$(MAKE) --no-print-directory build
	@$(NODE) scripts/dashboard install
	@cd e2e && S4T_NO_SKIPS=1 S4T_BENCH_DASHBOARD=1 S4T_BIN=$(CURDIR)/bin $(NODE) $(GO) test -count 1 -timeout 15m -run '^TestDashboardFigures$$'

## bench-peers: boards on a bridge across two tunnel agents beside one agent, over wss (root, iperf3, RabbitMQ, a minute)
bench-peers: build
	S4T_BIN=$(CURDIR)/bin S4T_BENCH_PEERS=$(or $(ROUNDS),3) $(GO) test -v -count 1 -timeout 10m -run TestRateAcrossAgents ./e2e

## bench-list: what GET /v1/boards of 10,000 boards takes, whole and as the dashboard asks
bench-list:
	go test ./api -run '^$$' -bench BoardList -benchtime 10x

## bench-leases: a lease of 100 of 10,000 boards, searches of 100,000, on SQLite and PostgreSQL; what a board that is lent pays for each stream
bench-leases:
	$(GO) test ./lease ./lightningrod -run '^$$' -bench 'BenchmarkMay|BenchmarkLeaseOfAStream' -benchmem
	$(GO) test -run '^$$' -bench 'BenchmarkLease|BenchmarkBoardSearch' -benchtime 40x ./conductor

## bench-scale: how many boards a cloud takes, beside the build of the commit BASE; BENCH='-agents 7 -sizes 84000': of eight processes with RabbitMQ and PostgreSQL
bench-scale:
	$(GO) run ./bench/scale -base '$(BASE)' $(BENCH)

## test-scale: BOARDS boards come at once to one process and to three WAMP agents, an agent is killed, then all; fails where boards stay away, sessions end, or a user is not answered
test-scale: BOARDS = 2000
test-scale:
	@scripts/deps state
	@scripts/deps cluster
	$(GO) run ./bench/scale -contract -limit 5m -rest 5s -sizes $(BOARDS)
	$(GO) run ./bench/scale -contract -limit 5m -rest 5s -sizes $(BOARDS) -agents 3

## lint: vet, staticcheck, govulncheck (versions pinned)
lint:
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@$(GO) run $(GOVULNCHECK) ./... || echo "govulncheck: could not reach its data, or found something: see above"

## cross: lightning-rod for every board, with sizes against the 10 MB target; for MIPS without WASI
cross:
	@mkdir -p bin/cross
	@for b in $(BOARDS); do \
		os=$$(echo $$b | cut -d/ -f1); arch=$$(echo $$b | cut -d/ -f2); v=$$(echo $$b | cut -s -d/ -f3); \
		arm=; mips=; tags=; set --; [ $$arch = arm ] && arm=$$v; [ $$arch = mipsle ] && mips=$$v tags=nowasi && set -- $(SMALL); \
		out=bin/cross/lightning-rod-$$os-$$arch$$([ -n "$$v" ] && echo -$$v); \
		GOOS=$$os GOARCH=$$arch GOARM=$$arm GOMIPS=$$mips $(BUILD) "$$@" -tags "$(TAGS) $$tags" -o $$out ./cmd/lightning-rod || exit 1; \
		stat -c '%s %n' $$out | awk '{printf "%6.2f MB of 10.00  %s%s\n", $$1/1e6, $$2, ($$1 > 10e6) ? "  OVER" : ""}'; \
	done

## deps: Debian packages that the tests use
deps:
	@scripts/deps test

## golden: rewrite the golden files; read the diff
golden:
	$(GO) test ./wire ./vnet ./gre ./cmd/... -update

## clean: remove what was built
clean:
	rm -rf bin

## help: this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)
