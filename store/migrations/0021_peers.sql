-- +goose Up
-- A network may be at several tunnel agents: a port is at the network's, or at one
-- of its own. While it moves, the one that it leaves has it, too.
ALTER TABLE ports ADD COLUMN tunnel_agent TEXT NOT NULL DEFAULT ''; -- empty: the network's
ALTER TABLE ports ADD COLUMN leaving TEXT NOT NULL DEFAULT '';
ALTER TABLE ports ADD COLUMN leaving_until BIGINT NOT NULL DEFAULT 0;
CREATE INDEX ports_tunnel_agent ON ports (tunnel_agent, network) WHERE tunnel_agent <> '';
CREATE INDEX ports_leaving ON ports (leaving) WHERE leaving <> '';

ALTER TABLE agents ADD COLUMN peers INTEGER NOT NULL DEFAULT 0; -- 1: a tunnel agent that can be at a network with others

-- Which two tunnel agents carry frames of a network to each other.
CREATE TABLE peerings (
    network TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
    low     TEXT NOT NULL, -- dials
    high    TEXT NOT NULL,
    PRIMARY KEY (network, low, high)
);

-- +goose Down
DROP TABLE peerings;
ALTER TABLE agents DROP COLUMN peers;
DROP INDEX ports_leaving;
DROP INDEX ports_tunnel_agent;
ALTER TABLE ports DROP COLUMN leaving_until;
ALTER TABLE ports DROP COLUMN leaving;
ALTER TABLE ports DROP COLUMN tunnel_agent;
