-- +goose Up

-- Codes with which many boards join a fleet.
CREATE TABLE fleet_tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    fleet      TEXT    NOT NULL REFERENCES fleets(id) ON DELETE CASCADE,
    user_name  TEXT    NOT NULL,
    code_hash  TEXT    NOT NULL UNIQUE, -- SHA-256 of the code, hex
    count      INTEGER NOT NULL,
    used       INTEGER NOT NULL,
    expires_at BIGINT  NOT NULL,
    created_at BIGINT  NOT NULL
);
CREATE INDEX fleet_tokens_fleet ON fleet_tokens (fleet, created_at, id);
CREATE INDEX fleet_tokens_expires ON fleet_tokens (expires_at);

-- Which key joined with which of them: the same key is the same board.
CREATE TABLE fleet_joins (
    token TEXT NOT NULL REFERENCES fleet_tokens(id) ON DELETE CASCADE,
    key   TEXT NOT NULL, -- of the board, base64
    board TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    PRIMARY KEY (token, key)
);
CREATE INDEX fleet_joins_board ON fleet_joins (board);

-- +goose Down
DROP TABLE fleet_joins;
DROP TABLE fleet_tokens;
