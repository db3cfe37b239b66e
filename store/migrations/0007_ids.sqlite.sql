-- +goose Up

-- Ids of events and audit records come from the engine.
CREATE TABLE events_new (
    id      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at      BIGINT  NOT NULL,
    kind    TEXT    NOT NULL,
    project TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    name    TEXT    NOT NULL,
    board   TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    data    TEXT    NOT NULL -- JSON; empty: none
);
INSERT INTO events_new SELECT id, at, kind, project, object, name, board, detail, data FROM events ORDER BY id;
DROP TABLE events;
ALTER TABLE events_new RENAME TO events;
CREATE INDEX events_project ON events (project, id);

-- The newest event that is not kept any more: one row.
CREATE TABLE events_trimmed (id BIGINT NOT NULL);
INSERT INTO events_trimmed SELECT COALESCE(MIN(id), 1) - 1 FROM events;

CREATE TABLE audit_new (
    id       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at       BIGINT  NOT NULL,
    who      TEXT    NOT NULL,
    project  TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    object   TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    board    TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    detail   TEXT    NOT NULL
);
INSERT INTO audit_new SELECT id, at, who, project, action, object, name, board, outcome, detail FROM audit ORDER BY id;
DROP TABLE audit;
ALTER TABLE audit_new RENAME TO audit;
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_project ON audit (project, at, id);
CREATE INDEX audit_board ON audit (board);
CREATE INDEX audit_object ON audit (object);
CREATE INDEX audit_name ON audit (name);
CREATE INDEX IF NOT EXISTS boards_name ON boards (name, id);

-- +goose Down
DROP INDEX boards_name;
DROP INDEX audit_name;
DROP INDEX audit_object;
DROP INDEX audit_project;
DROP TABLE events_trimmed;
DROP INDEX events_project;
