-- +goose Up

-- How pins were before a lease first changed them: they go back to that when it is over.
CREATE TABLE leased_pins (
    lease    TEXT NOT NULL REFERENCES board_leases(id) ON DELETE CASCADE,
    board    TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    pin      TEXT NOT NULL,
    settings TEXT NOT NULL,         -- JSON
    value    DOUBLE PRECISION,      -- NULL: it was no output, or had none
    holder   TEXT NOT NULL,         -- who changed it first, as the board knows holders
    due      INTEGER NOT NULL DEFAULT 0, -- 1: the lease is over
    PRIMARY KEY (lease, board, pin)
);
CREATE INDEX leased_pins_board ON leased_pins (board);
CREATE INDEX leased_pins_due ON leased_pins (lease, board, pin) WHERE due = 1;

-- +goose Down
DROP TABLE leased_pins;
