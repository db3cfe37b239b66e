-- +goose Up

-- What an operation of the kind command.run has besides: the run of a command on a
-- board. It outlives the board.
CREATE TABLE runs (
    operation  TEXT    NOT NULL PRIMARY KEY REFERENCES operations(id) ON DELETE CASCADE,
    board      TEXT    NOT NULL, -- id; its name is that of the operation
    project    TEXT    NOT NULL, -- of the operation
    made_at    BIGINT  NOT NULL, -- created_at of the operation
    command    TEXT    NOT NULL,
    who        TEXT    NOT NULL, -- asked, for people
    params     TEXT    NOT NULL, -- JSON
    key        TEXT    NOT NULL, -- idempotency; empty: none
    timeout    BIGINT  NOT NULL, -- microseconds
    quiet      INTEGER NOT NULL, -- 1: no event tells of it
    open       INTEGER NOT NULL, -- 1: it has not ended
    queued     INTEGER NOT NULL, -- 1: it waits for its board
    expires_at BIGINT  NOT NULL, -- of one that was queued: it begins before it; 0: it was not
    before_at  BIGINT  NOT NULL, -- the board begins it before it or never; 0: no board was told of it
    due        BIGINT  NOT NULL, -- while it is open: when upkeep looks at it
    result     TEXT    NOT NULL, -- JSON; empty: none
    size       BIGINT  NOT NULL  -- bytes of params and result
);
CREATE UNIQUE INDEX runs_key ON runs (board, project, key) WHERE key <> '';
CREATE INDEX runs_project ON runs (project, made_at, size);
CREATE INDEX runs_open ON runs (board) WHERE open = 1;
CREATE INDEX runs_due ON runs (due) WHERE open = 1;
CREATE INDEX runs_queued ON runs (board, made_at) WHERE queued = 1;

-- Operations that are no runs: of those a project keeps its own share.
CREATE INDEX operations_kept ON operations (project, created_at) WHERE kind <> 'command.run';

-- +goose Down
DROP INDEX operations_kept;
DROP TABLE runs;
