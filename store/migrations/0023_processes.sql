-- +goose Up
-- Conductors and APIs that have said that they are there: one row a role of a process.
CREATE TABLE processes (
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    host        TEXT NOT NULL,
    url         TEXT NOT NULL,
    version     TEXT NOT NULL,
    load        BIGINT NOT NULL, -- thousandths of a processor
    since       BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    PRIMARY KEY (name, role)
);

-- +goose Down
DROP TABLE processes;
