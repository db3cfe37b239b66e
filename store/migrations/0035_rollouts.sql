-- +goose Up

-- Rollouts of plugins to fleets. The fleet may be gone: what it had is in rollout_boards.
CREATE TABLE rollouts (
    id            TEXT    NOT NULL PRIMARY KEY,
    project       TEXT    NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    fleet         TEXT    NOT NULL,
    fleet_name    TEXT    NOT NULL,
    plugin        TEXT    NOT NULL,
    plugin_name   TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    injector      TEXT    NOT NULL, -- user on whose word it runs, and the role
    role          TEXT    NOT NULL, -- that the user had then
    user_name     TEXT    NOT NULL,
    max_failed    TEXT    NOT NULL, -- "5%", "3"
    pause_seconds BIGINT  NOT NULL,
    status        TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    waves         TEXT    NOT NULL, -- JSON, without what is counted
    wave          INTEGER NOT NULL, -- the one that runs
    goes_on       BIGINT  NOT NULL, -- when the pause is over; 0: there is none
    created_at    BIGINT  NOT NULL,
    ended_at      BIGINT  NOT NULL  -- 0: it has not
);
CREATE UNIQUE INDEX rollouts_open ON rollouts (fleet, plugin) WHERE ended_at = 0;
CREATE INDEX rollouts_going ON rollouts (id) WHERE ended_at = 0 AND status <> 'stopped';
CREATE INDEX rollouts_project ON rollouts (project, created_at, id);
CREATE INDEX rollouts_created ON rollouts (created_at, id);
CREATE INDEX rollouts_plugin ON rollouts (plugin) WHERE ended_at = 0;
CREATE INDEX rollouts_ended ON rollouts (ended_at) WHERE ended_at > 0;

CREATE TABLE rollout_boards (
    rollout    TEXT    NOT NULL REFERENCES rollouts(id) ON DELETE CASCADE,
    board      TEXT    NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    wave       INTEGER NOT NULL,
    status     TEXT    NOT NULL,
    before     TEXT    NOT NULL, -- the version that it had; empty: none
    changed    INTEGER NOT NULL, -- by this rollout, and not gone back
    started_at BIGINT  NOT NULL, -- when it was first told; 0: not yet
    operation  TEXT    NOT NULL, -- that tells how it goes; empty: none does
    error      TEXT    NOT NULL,
    PRIMARY KEY (rollout, board)
);
CREATE INDEX rollout_boards_board ON rollout_boards (board);
CREATE INDEX rollout_boards_operation ON rollout_boards (operation) WHERE operation <> '';

-- +goose Down
DROP TABLE rollout_boards;
DROP TABLE rollouts;
