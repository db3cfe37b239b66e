-- +goose Up

-- The cloud's copy of a board's pins, and the number that the next claim of one
-- of them is above. A board that never said of pins, and whose pins nobody
-- claimed, has no row.
CREATE TABLE board_pins (
    board       TEXT    NOT NULL PRIMARY KEY REFERENCES boards(id) ON DELETE CASCADE,
    fence       BIGINT  NOT NULL, -- the highest that a claim was given
    pins        TEXT    NOT NULL, -- as the board reported them, without values: JSON; empty: it never did
    size        INTEGER NOT NULL, -- bytes of them
    digest      TEXT    NOT NULL, -- SHA-256 of them, hex
    reported_at BIGINT  NOT NULL  -- when it said so first; 0: never
);

-- Values that were written for a time, and have it still.
CREATE INDEX operations_pins ON operations (object) WHERE kind = 'pin.write' AND status = 'running';

-- +goose Down
DROP INDEX operations_pins;
DROP TABLE board_pins;
