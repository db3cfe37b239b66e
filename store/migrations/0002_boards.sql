-- +goose Up

-- WAMP agents and tunnel agents.
CREATE TABLE agents (
    id          TEXT    NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL,
    incarnation TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    public_min  INTEGER NOT NULL, -- range of public ports; 0 to 0: none
    public_max  INTEGER NOT NULL,
    generation  BIGINT  NOT NULL, -- of its desired state
    applied     BIGINT  NOT NULL, -- the last one it said it has
    online      INTEGER NOT NULL,
    seen_at     BIGINT  NOT NULL
);

CREATE TABLE boards (
    id            TEXT    NOT NULL PRIMARY KEY,
    project       TEXT    NOT NULL REFERENCES projects(id),
    name          TEXT    NOT NULL,
    type          TEXT    NOT NULL,
    labels        TEXT    NOT NULL, -- JSON
    location      TEXT    NOT NULL, -- JSON; empty: not known
    code_hash     TEXT    UNIQUE,   -- SHA-256 of the registration code, hex
    code_used     INTEGER NOT NULL,
    public_key    TEXT    NOT NULL, -- Ed25519, base64; empty: not enrolled
    status        TEXT    NOT NULL,
    epoch         BIGINT  NOT NULL,
    generation    BIGINT  NOT NULL,
    applied       BIGINT  NOT NULL,
    wamp_agent    TEXT    NOT NULL, -- of its session; empty: it has none
    incarnation   TEXT    NOT NULL, -- of that agent when the session began
    instance      TEXT    NOT NULL, -- of lightning-rod in that session
    tunnel_agent  TEXT    NOT NULL, -- of its services and streams; empty: not placed yet
    streams_up    INTEGER NOT NULL, -- the tunnel agent holds an idle data rtunnel of it
    streams_until BIGINT  NOT NULL, -- idle data rtunnels are wanted until then; 0: are not
    cloned_at     BIGINT  NOT NULL, -- when another board last used its key; 0: never
    info          TEXT    NOT NULL, -- JSON
    problems      TEXT    NOT NULL, -- JSON
    last_seen     BIGINT,
    created_at    BIGINT  NOT NULL,
    UNIQUE (project, name)
);
CREATE INDEX boards_wamp_agent ON boards (wamp_agent);
CREATE INDEX boards_tunnel_agent ON boards (tunnel_agent);

CREATE TABLE networks (
    id            TEXT    NOT NULL PRIMARY KEY,
    project       TEXT    NOT NULL REFERENCES projects(id),
    name          TEXT    NOT NULL,
    layer         INTEGER NOT NULL,
    encapsulation TEXT    NOT NULL,
    mtu           INTEGER NOT NULL,
    gre_key       BIGINT  NOT NULL UNIQUE,
    tunnel_agent  TEXT    NOT NULL REFERENCES agents(id),
    created_at    BIGINT  NOT NULL
);
CREATE INDEX networks_project ON networks (project);
CREATE INDEX networks_tunnel_agent ON networks (tunnel_agent);

CREATE TABLE subnets (
    id      TEXT NOT NULL PRIMARY KEY,
    network TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
    project TEXT NOT NULL REFERENCES projects(id),
    cidr    TEXT NOT NULL,
    UNIQUE (network, cidr)
);
CREATE INDEX subnets_project ON subnets (project);

CREATE TABLE bridges (
    id         TEXT   NOT NULL PRIMARY KEY,
    project    TEXT   NOT NULL REFERENCES projects(id),
    name       TEXT   NOT NULL,
    network    TEXT   NOT NULL UNIQUE REFERENCES networks(id) ON DELETE CASCADE,
    status     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project, name)
);

-- A port has two halves, each told by the one who has it.
CREATE TABLE ports (
    id            TEXT    NOT NULL PRIMARY KEY,
    network       TEXT    NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
    project       TEXT    NOT NULL REFERENCES projects(id),
    board         TEXT    NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    mac           TEXT    UNIQUE, -- NULL on layer 3
    interface     TEXT    NOT NULL,
    guards        TEXT    NOT NULL, -- JSON
    gre_local     TEXT    UNIQUE, -- NULL without GRE
    board_up      INTEGER NOT NULL,
    agent_up      INTEGER NOT NULL,
    board_problem TEXT    NOT NULL,
    agent_problem TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    UNIQUE (network, board),
    UNIQUE (board, interface)
);
CREATE INDEX ports_project ON ports (project);

-- Addresses that are taken; no two ports of a network have the same.
CREATE TABLE addresses (
    network TEXT    NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
    address TEXT    NOT NULL,
    bits    INTEGER NOT NULL, -- of the prefix
    port    TEXT    NOT NULL REFERENCES ports(id) ON DELETE CASCADE,
    place   INTEGER NOT NULL, -- among the addresses of the port
    PRIMARY KEY (network, address)
);
CREATE INDEX addresses_port ON addresses (port);

CREATE TABLE services (
    id          TEXT    NOT NULL PRIMARY KEY,
    project     TEXT    NOT NULL REFERENCES projects(id),
    board       TEXT    NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    tcp_port    INTEGER NOT NULL,
    target      TEXT    NOT NULL,
    agent       TEXT    NOT NULL REFERENCES agents(id),
    public_port INTEGER NOT NULL,
    agent_up    INTEGER NOT NULL, -- the public port listens
    problem     TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    UNIQUE (board, target, tcp_port),
    UNIQUE (agent, public_port)
);
CREATE INDEX services_project ON services (project);

-- What was asked, and how it went. It outlives its object.
CREATE TABLE operations (
    id         TEXT   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    project    TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    object     TEXT   NOT NULL,
    name       TEXT   NOT NULL, -- of the object
    status     TEXT   NOT NULL,
    steps      TEXT   NOT NULL, -- JSON
    awaits     TEXT   NOT NULL, -- JSON: what it waits for, in the conductor's words
    error      TEXT   NOT NULL,
    error_kind TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT
);
CREATE INDEX operations_project ON operations (project, created_at);
CREATE INDEX operations_running ON operations (created_at) WHERE status = 'running';

CREATE TABLE events (
    id      BIGINT NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    kind    TEXT   NOT NULL,
    project TEXT   NOT NULL,
    object  TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    board   TEXT   NOT NULL,
    detail  TEXT   NOT NULL,
    data    TEXT   NOT NULL -- JSON; empty: none
);

-- +goose Down
DROP TABLE events;
DROP TABLE operations;
DROP TABLE services;
DROP TABLE addresses;
DROP TABLE ports;
DROP TABLE bridges;
DROP TABLE subnets;
DROP TABLE networks;
DROP TABLE boards;
DROP TABLE agents;
