-- +goose Up

-- The cloud's copy of what a board says of the code that it can run. A board that
-- never said has no row.
CREATE TABLE board_code (
    board       TEXT    NOT NULL PRIMARY KEY REFERENCES boards(id) ON DELETE CASCADE,
    code        TEXT    NOT NULL, -- its runtimes and commands: JSON
    digest      TEXT    NOT NULL, -- SHA-256 of code, hex
    profile     TEXT    NOT NULL, -- what its owner gives of it, and what was used: JSON
    reported_at BIGINT  NOT NULL  -- when it said so last
);

-- +goose Down
DROP TABLE board_code;
