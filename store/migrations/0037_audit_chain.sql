-- +goose Up

-- The chain of the audit, in blocks of records that were sealed together. What
-- is sealed is not in the rows of the audit: those are written once.
CREATE TABLE audit_blocks (
    last_number  BIGINT  NOT NULL PRIMARY KEY, -- which records of the chain, from 1
    first_number BIGINT  NOT NULL,
    at           BIGINT  NOT NULL,
    adopted      INTEGER NOT NULL, -- 1: its records may be older than at
    chain        TEXT    NOT NULL, -- hash after the last, hex
    signature    TEXT    NOT NULL, -- base64
    entries      TEXT    NOT NULL, -- base64; empty: all of it was trimmed
    gap          TEXT    NOT NULL  -- base64; signature that it was
);

CREATE TABLE audit_head (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    count   BIGINT  NOT NULL,
    chain   TEXT    NOT NULL,
    last_id BIGINT  NOT NULL, -- of the audit: what comes after is not sealed
    holes   TEXT    NOT NULL, -- JSON: what before may come yet
    adopt   INTEGER NOT NULL  -- 1: what is not sealed may be old
);
INSERT INTO audit_head (one, count, chain, last_id, holes, adopt) VALUES (1, 0, '', 0, '', 1);

-- Up to where each part of the audit was trimmed.
CREATE TABLE audit_marks (
    project   TEXT    NOT NULL,
    refused   INTEGER NOT NULL,
    at        BIGINT  NOT NULL,
    id        BIGINT  NOT NULL,
    signature TEXT    NOT NULL,
    PRIMARY KEY (project, refused)
);

-- +goose Down
DROP TABLE audit_marks;
DROP TABLE audit_head;
DROP TABLE audit_blocks;
