-- +goose Up

-- GRE endpoints of the data centre on networks. What comes from a remote under
-- a key is of one network only.
CREATE TABLE gre_endpoints (
    id         TEXT    NOT NULL PRIMARY KEY,
    network    TEXT    NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
    agent      TEXT    NOT NULL REFERENCES agents(id),
    remote     TEXT    NOT NULL,
    local      TEXT    NOT NULL, -- empty: any
    gre_key    BIGINT  NOT NULL,
    guards     TEXT    NOT NULL, -- JSON
    agent_up   INTEGER NOT NULL,
    problem    TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    UNIQUE (agent, remote, gre_key)
);
CREATE INDEX gre_endpoints_network ON gre_endpoints (network);

-- +goose Down
DROP TABLE gre_endpoints;
