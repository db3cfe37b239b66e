-- +goose Up
-- A session is over when its agent is another incarnation, or silent: nothing is
-- written for each board when an agent comes or goes.
ALTER TABLE agents ADD COLUMN since BIGINT NOT NULL DEFAULT 0; -- when this incarnation came
ALTER TABLE agents ADD COLUMN lost INTEGER NOT NULL DEFAULT 0; -- sessions ended with it: 1 nobody was told yet, 2 their rows still say online

-- +goose Down
ALTER TABLE agents DROP COLUMN lost;
ALTER TABLE agents DROP COLUMN since;
