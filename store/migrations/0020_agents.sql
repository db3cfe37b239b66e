-- +goose Up
-- Agents that give up what they have, and where they are.
ALTER TABLE agents ADD COLUMN place TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN drain INTEGER NOT NULL DEFAULT 0; -- 1: it is emptied, 2: it is empty, and that was told

-- The tunnel agent that a network was moved from while that still carries it,
-- and until when.
ALTER TABLE networks ADD COLUMN leaving TEXT NOT NULL DEFAULT '';
ALTER TABLE networks ADD COLUMN leaving_until BIGINT NOT NULL DEFAULT 0;
CREATE INDEX networks_leaving ON networks (leaving) WHERE leaving <> '';

-- +goose Down
DROP INDEX networks_leaving;
ALTER TABLE networks DROP COLUMN leaving_until;
ALTER TABLE networks DROP COLUMN leaving;
ALTER TABLE agents DROP COLUMN drain;
ALTER TABLE agents DROP COLUMN version;
ALTER TABLE agents DROP COLUMN place;
