-- +goose Up

-- Sets of boards. Who is a member by labels or place is found when it is asked
-- for; who is named is in fleet_boards.
CREATE TABLE fleets (
    id         TEXT             NOT NULL PRIMARY KEY,
    project    TEXT             NOT NULL REFERENCES projects(id),
    name       TEXT             NOT NULL,
    labels     TEXT             NOT NULL, -- JSON
    near       TEXT             NOT NULL, -- JSON; empty: anywhere
    within_km  DOUBLE PRECISION NOT NULL,
    created_at BIGINT           NOT NULL,
    UNIQUE (project, name)
);
CREATE INDEX fleets_name ON fleets (name, id);

CREATE TABLE fleet_boards (
    fleet TEXT NOT NULL REFERENCES fleets(id) ON DELETE CASCADE,
    board TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    PRIMARY KEY (fleet, board)
);
CREATE INDEX fleet_boards_board ON fleet_boards (board);

-- +goose Down
DROP TABLE fleet_boards;
DROP TABLE fleets;
