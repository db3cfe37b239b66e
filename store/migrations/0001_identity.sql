-- +goose Up
CREATE TABLE projects (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    project    TEXT   NOT NULL REFERENCES projects(id),
    role       TEXT   NOT NULL,
    password   TEXT   NOT NULL, -- argon2id in PHC form; empty: no login
    created_at BIGINT NOT NULL
);
CREATE INDEX users_project ON users (project);

CREATE TABLE tokens (
    id          TEXT   NOT NULL PRIMARY KEY,
    secret_hash TEXT   NOT NULL UNIQUE, -- SHA-256 of the secret, hex
    user_id     TEXT   NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    project     TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    role        TEXT   NOT NULL,
    expires_at  BIGINT,
    created_at  BIGINT NOT NULL
);
CREATE INDEX tokens_user ON tokens (user_id);
CREATE INDEX tokens_project ON tokens (project);

-- The audit outlives what it speaks of: no reference to projects.
CREATE TABLE audit (
    id       BIGINT NOT NULL PRIMARY KEY,
    at       BIGINT NOT NULL,
    who      TEXT   NOT NULL,
    project  TEXT   NOT NULL,
    action   TEXT   NOT NULL,
    object   TEXT   NOT NULL,
    name     TEXT   NOT NULL,
    board    TEXT   NOT NULL,
    outcome  TEXT   NOT NULL,
    detail   TEXT   NOT NULL
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_board ON audit (board);

-- Keys that several conductors share: the key that signs tickets.
CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL -- base64
);

-- +goose Down
DROP TABLE secrets;
DROP TABLE audit;
DROP TABLE tokens;
DROP TABLE users;
DROP TABLE projects;
