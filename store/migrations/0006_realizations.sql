-- +goose Up

-- Whether a board is there: the narrow row that its sessions and reports
-- change, apart from what people wrote of it.
CREATE TABLE presence (
    board       TEXT   NOT NULL PRIMARY KEY REFERENCES boards(id) ON DELETE CASCADE,
    status      TEXT   NOT NULL,
    epoch       BIGINT NOT NULL, -- counts its sessions
    generation  BIGINT NOT NULL, -- of its desired state
    applied     BIGINT NOT NULL, -- the last one it said it has
    report_seq  BIGINT NOT NULL, -- of its last report in this session
    wamp_agent  TEXT   NOT NULL, -- of its session; empty: it has none
    incarnation TEXT   NOT NULL, -- of that agent when the session began
    instance    TEXT   NOT NULL, -- of lightning-rod in that session
    seen_at     BIGINT
);
INSERT INTO presence (board, status, epoch, generation, applied, report_seq, wamp_agent, incarnation, instance, seen_at)
    SELECT id, status, epoch, generation, applied, 0, wamp_agent, incarnation, instance, last_seen FROM boards;
CREATE INDEX presence_agent ON presence (wamp_agent, status, board);
CREATE INDEX presence_status ON presence (status, board);
CREATE INDEX presence_lagging ON presence (board) WHERE status = 'online' AND applied < generation;

DROP INDEX boards_wamp_agent;
ALTER TABLE boards DROP COLUMN status;
ALTER TABLE boards DROP COLUMN epoch;
ALTER TABLE boards DROP COLUMN generation;
ALTER TABLE boards DROP COLUMN applied;
ALTER TABLE boards DROP COLUMN wamp_agent;
ALTER TABLE boards DROP COLUMN incarnation;
ALTER TABLE boards DROP COLUMN instance;
ALTER TABLE boards DROP COLUMN last_seen;
ALTER TABLE boards DROP COLUMN streams_up;
CREATE INDEX boards_name ON boards (name, id);
CREATE INDEX boards_streams_until ON boards (streams_until) WHERE streams_until > 0;
CREATE INDEX boards_cloned_at ON boards (cloned_at) WHERE cloned_at > 0;

-- An object that is wanted of a holder (a board or an agent), and what the
-- holder says of it. It is empty after this migration: the conductor fills it
-- at its next start.
CREATE TABLE realizations (
    holder     TEXT    NOT NULL, -- id of a board or an agent
    kind       TEXT    NOT NULL,
    object     TEXT    NOT NULL, -- id
    on_board   INTEGER NOT NULL, -- the holder is a board
    generation BIGINT  NOT NULL, -- of the holder's desired state, when this last changed
    gone       INTEGER NOT NULL, -- not wanted any more, and the holder may not know it yet
    spec       TEXT    NOT NULL, -- JSON: what the holder has to know
    up         INTEGER NOT NULL, -- as the holder said last
    was_up     INTEGER NOT NULL, -- all who hold the object once had it up together
    problem_id TEXT    NOT NULL,
    problem    TEXT    NOT NULL,
    PRIMARY KEY (holder, kind, object)
);
CREATE INDEX realizations_object ON realizations (object, kind, holder);
CREATE INDEX realizations_changed ON realizations (holder, generation, kind, object);
CREATE INDEX realizations_gone ON realizations (holder, generation) WHERE gone = 1;
CREATE INDEX realizations_said ON realizations (holder) WHERE up = 1 OR problem <> '';

-- Has a row when the conductor has filled it, to the end.
CREATE TABLE realizations_filled (
    at BIGINT NOT NULL
);

-- What a running operation waits for: that a holder has an object up, or, with
-- an empty kind, only that it has this generation.
CREATE TABLE awaits (
    operation   TEXT   NOT NULL REFERENCES operations(id) ON DELETE CASCADE,
    holder      TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    object      TEXT   NOT NULL,
    on_board    INTEGER NOT NULL, -- the holder is a board
    board       TEXT   NOT NULL, -- waited for while this board is online only; empty: in any case
    generation  BIGINT NOT NULL, -- of the holder
    told_at     BIGINT NOT NULL, -- when a board was told of it (step 5 of Fig. 3), and when it
    received_at BIGINT NOT NULL, -- received it (step 6); 0: not known
    PRIMARY KEY (operation, holder, kind, object)
);
CREATE INDEX awaits_holder ON awaits (holder);
CREATE INDEX awaits_board ON awaits (board);

-- Whoever holds a lease does what only one may do.
CREATE TABLE leases (
    name   TEXT   NOT NULL PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL
);

-- The conductor's own record of what an operation waited for is of no use to
-- awaits: what still ran ends as failed.
UPDATE operations SET status = 'failed', error = 'the cloud was updated meanwhile; ask again if it is not as wanted', error_kind = 'unavailable', ended_at = created_at
    WHERE status = 'running';
DROP INDEX operations_running;
DROP INDEX operations_project;
ALTER TABLE operations DROP COLUMN awaits;
ALTER TABLE operations ADD COLUMN deadline BIGINT NOT NULL DEFAULT 0; -- by the database's clock, while it runs
ALTER TABLE operations ADD COLUMN retries INTEGER NOT NULL DEFAULT 0; -- other choices that may still be tried
CREATE INDEX operations_running ON operations (deadline) WHERE status = 'running';
CREATE INDEX operations_project ON operations (project, created_at, id);
CREATE INDEX operations_created ON operations (created_at, id);

ALTER TABLE agents ADD COLUMN report_seq BIGINT NOT NULL DEFAULT 0; -- of its last report
ALTER TABLE agents ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0; -- until then nobody else has what it holds
ALTER TABLE agents ADD COLUMN replaced TEXT NOT NULL DEFAULT ''; -- the incarnation before
ALTER TABLE agents ADD COLUMN desired_sum BIGINT NOT NULL DEFAULT 0; -- of what is wanted of it
ALTER TABLE agents ADD COLUMN said_sum BIGINT NOT NULL DEFAULT 0; -- of what it said

DROP INDEX ports_project;
ALTER TABLE ports DROP COLUMN board_up;
ALTER TABLE ports DROP COLUMN agent_up;
ALTER TABLE ports DROP COLUMN board_problem;
ALTER TABLE ports DROP COLUMN agent_problem;
ALTER TABLE ports DROP COLUMN status;
CREATE INDEX ports_project ON ports (project, created_at, id);
CREATE INDEX ports_created ON ports (created_at, id);

ALTER TABLE services DROP COLUMN agent_up;
ALTER TABLE services DROP COLUMN problem;
ALTER TABLE services DROP COLUMN status;
DROP INDEX services_project;
CREATE INDEX services_project ON services (project, created_at, id);
CREATE INDEX services_board ON services (board, created_at, id);
CREATE INDEX services_created ON services (created_at, id);

ALTER TABLE gre_endpoints DROP COLUMN agent_up;
ALTER TABLE gre_endpoints DROP COLUMN problem;
CREATE INDEX gre_endpoints_agent ON gre_endpoints (agent);
ALTER TABLE uplinks DROP COLUMN status;
ALTER TABLE uplinks DROP COLUMN problem;

DROP INDEX networks_project;
CREATE INDEX networks_project ON networks (project, name, id);
CREATE INDEX networks_name ON networks (name, id);
CREATE INDEX bridges_name ON bridges (name, id);
DROP INDEX subnets_project;
CREATE INDEX subnets_project ON subnets (project, cidr, id);
CREATE INDEX subnets_cidr ON subnets (cidr, id);

-- +goose Down
-- There is no way back: restore the backup from before.
SELECT 1;
