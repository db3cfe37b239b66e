-- +goose Up
-- 1: the terminals of its boards are recorded.
ALTER TABLE projects ADD COLUMN record_terminals INTEGER NOT NULL DEFAULT 0;

-- What shells of boards wrote. The board may have gone since: no reference.
CREATE TABLE recordings (
    id         TEXT   NOT NULL PRIMARY KEY,
    project    TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    board      TEXT   NOT NULL,
    board_name TEXT   NOT NULL,
    shell_of   TEXT   NOT NULL, -- a user of the board
    opened_by  TEXT   NOT NULL, -- a user of the cloud
    source     TEXT   NOT NULL, -- the origin of the page that opened it; empty: no page
    started_at BIGINT NOT NULL,
    ended_at   BIGINT NOT NULL, -- 0: it goes on
    added_at   BIGINT NOT NULL, -- when the last part came
    bytes      BIGINT NOT NULL
);
CREATE INDEX recordings_project ON recordings (project, started_at, id, bytes);
CREATE INDEX recordings_started ON recordings (started_at, id);
CREATE INDEX recordings_open ON recordings (added_at) WHERE ended_at = 0;

CREATE TABLE recording_parts (
    recording TEXT   NOT NULL REFERENCES recordings(id) ON DELETE CASCADE,
    start     BIGINT NOT NULL,
    data      TEXT   NOT NULL, -- lines of asciicast v2
    PRIMARY KEY (recording, start)
);

-- +goose Down
DROP TABLE recording_parts;
DROP TABLE recordings;
ALTER TABLE projects DROP COLUMN record_terminals;
