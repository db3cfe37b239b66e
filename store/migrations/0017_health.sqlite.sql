-- +goose Up

-- How a board is, as it said last, and was: a ring of fixed size, see store.HealthRing.
-- A board that never said has no row.
CREATE TABLE board_health (
    board       TEXT   NOT NULL PRIMARY KEY REFERENCES boards(id) ON DELETE CASCADE,
    health      TEXT   NOT NULL, -- JSON of s4t.Health
    reported_at BIGINT NOT NULL,
    history_at  BIGINT NOT NULL, -- number of the ring's newest point
    history     BLOB   NOT NULL
);

-- Times in which an enrolled board had no session.
CREATE TABLE outages (
    board  TEXT   NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    began  BIGINT NOT NULL,
    ended  BIGINT NOT NULL, -- 0: it lasts
    reason TEXT   NOT NULL, -- of s4t.OutageReason
    detail TEXT   NOT NULL,
    PRIMARY KEY (board, began)
);
CREATE INDEX outages_open ON outages (board) WHERE ended = 0;
CREATE INDEX outages_ended ON outages (ended) WHERE ended > 0;

-- When the first session of a board began since it was enrolled; 0: it is not known.
ALTER TABLE boards ADD COLUMN came_at BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE boards DROP COLUMN came_at;
DROP TABLE outages;
DROP TABLE board_health;
