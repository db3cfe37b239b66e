-- +goose Up

-- Boards that wait to be claimed by another project.
CREATE TABLE transfers (
    board      TEXT   NOT NULL PRIMARY KEY REFERENCES boards(id) ON DELETE CASCADE,
    project    TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE, -- that may
    code_hash  TEXT   NOT NULL UNIQUE, -- SHA-256 of the claim code, hex
    made_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX transfers_project ON transfers (project);

-- Counts the owners of a board: it forgets what the one before left when it sees a new number.
ALTER TABLE boards ADD COLUMN tenure BIGINT NOT NULL DEFAULT 0;

-- Tokens that open one calendar, and nothing else.
CREATE TABLE calendars (
    token_hash TEXT   NOT NULL PRIMARY KEY, -- SHA-256, hex
    project    TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE, -- whose it is
    board      TEXT   REFERENCES boards(id) ON DELETE CASCADE, -- NULL: of all leases of the project
    made_by    TEXT   NOT NULL,
    made_at    BIGINT NOT NULL
);
CREATE INDEX calendars_project ON calendars (project, made_at);
CREATE INDEX calendars_board ON calendars (board);

-- Counts the changes of a lease, for who subscribed to its calendar.
ALTER TABLE board_leases ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- Where boards were, the newest 100 of each.
CREATE TABLE board_places (
    board    TEXT   NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    since    BIGINT NOT NULL,
    location TEXT   NOT NULL, -- JSON
    PRIMARY KEY (board, since)
);

-- +goose Down
DROP TABLE board_places;
ALTER TABLE board_leases DROP COLUMN revision;
DROP TABLE calendars;
ALTER TABLE boards DROP COLUMN tenure;
DROP TABLE transfers;
