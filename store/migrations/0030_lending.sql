-- +goose Up

-- What owners give of their boards to other projects.
CREATE TABLE offers (
    id           TEXT    NOT NULL PRIMARY KEY,
    project      TEXT    NOT NULL REFERENCES projects(id),
    name         TEXT    NOT NULL,
    labels       TEXT    NOT NULL, -- JSON; boards of the project with all of them
    allow        TEXT    NOT NULL, -- actions, commas between them
    max_seconds  BIGINT  NOT NULL,
    hours        TEXT    NOT NULL,
    zone         TEXT    NOT NULL,
    shared       INTEGER NOT NULL,
    max_priority INTEGER NOT NULL,
    created_at   BIGINT  NOT NULL,
    UNIQUE (project, name)
);
CREATE INDEX offers_name ON offers (name, id);

CREATE TABLE offer_boards (
    offer TEXT NOT NULL REFERENCES offers(id) ON DELETE CASCADE,
    board TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    PRIMARY KEY (offer, board)
);
CREATE INDEX offer_boards_board ON offer_boards (board);

-- Who sees an offer: its owner, and to whom it is.
CREATE TABLE offer_projects (
    offer   TEXT    NOT NULL REFERENCES offers(id) ON DELETE CASCADE,
    project TEXT    REFERENCES projects(id) ON DELETE CASCADE, -- NULL: every project
    books   INTEGER NOT NULL -- the owner only sees it
);
CREATE INDEX offer_projects_offer ON offer_projects (offer);
CREATE INDEX offer_projects_project ON offer_projects (project);

-- Bookings of boards, and shares of them. (The table leases is of processes.)
CREATE TABLE board_leases (
    id         TEXT    NOT NULL PRIMARY KEY,
    project    TEXT    NOT NULL REFERENCES projects(id),
    parent     TEXT    REFERENCES board_leases(id), -- it is a share of this one
    name       TEXT    NOT NULL,
    user_name  TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    starts_at  BIGINT  NOT NULL,
    ends_at    BIGINT  NOT NULL, -- without this instant
    allow      TEXT    NOT NULL,
    priority   INTEGER NOT NULL,
    created_at BIGINT  NOT NULL
);
CREATE INDEX board_leases_project ON board_leases (project, name, id);
CREATE INDEX board_leases_parent ON board_leases (parent);
CREATE INDEX board_leases_starts ON board_leases (starts_at) WHERE status = 'pending';
CREATE INDEX board_leases_ends ON board_leases (ends_at) WHERE status IN ('pending', 'active');

CREATE INDEX board_leases_name ON board_leases (name, id);

-- Who sees a lease: who has it, and the owners of its boards.
CREATE TABLE lease_projects (
    project TEXT NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    lease   TEXT NOT NULL REFERENCES board_leases(id) ON DELETE CASCADE,
    PRIMARY KEY (project, lease)
);
CREATE INDEX lease_projects_lease ON lease_projects (lease);

-- The boards of a lease; the window is the lease's, here for the index that a calendar is.
CREATE TABLE lease_boards (
    lease     TEXT    NOT NULL REFERENCES board_leases(id) ON DELETE CASCADE,
    board     TEXT    NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    offer     TEXT    REFERENCES offers(id) ON DELETE SET NULL, -- NULL: the project's own board, or the offer is gone
    starts_at BIGINT  NOT NULL,
    ends_at   BIGINT  NOT NULL,
    priority  INTEGER NOT NULL,
    shared    INTEGER NOT NULL,
    share     INTEGER NOT NULL, -- of a share: it occupies nothing
    PRIMARY KEY (lease, board)
);
CREATE INDEX lease_boards_calendar ON lease_boards (board, ends_at);

-- +goose Down
DROP TABLE lease_boards;
DROP TABLE lease_projects;
DROP TABLE board_leases;
DROP TABLE offer_projects;
DROP TABLE offer_boards;
DROP TABLE offers;
