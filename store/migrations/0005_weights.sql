-- +goose Up

-- A project's share of a tunnel agent that is busy, beside other projects.
ALTER TABLE projects ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;

-- +goose Down
ALTER TABLE projects DROP COLUMN weight;
