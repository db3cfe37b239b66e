-- +goose Up

-- Networks in a Linux bridge of the cloud host.
CREATE TABLE uplinks (
    network    TEXT    NOT NULL PRIMARY KEY REFERENCES networks(id) ON DELETE CASCADE,
    agent      TEXT    NOT NULL REFERENCES agents(id), -- of the network
    bridge     TEXT    NOT NULL,
    guards     TEXT    NOT NULL, -- JSON
    status     TEXT    NOT NULL,
    problem    TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    UNIQUE (agent, bridge)
);

-- +goose Down
DROP TABLE uplinks;
