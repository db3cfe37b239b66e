-- +goose Up

-- Code that projects put on boards: a plugin has versions, each of which is a
-- signed bundle.
CREATE TABLE plugins (
    id         TEXT   NOT NULL PRIMARY KEY,
    project    TEXT   NOT NULL REFERENCES projects(id),
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (project, name)
);
CREATE INDEX plugins_project ON plugins (project, name, id);
CREATE INDEX plugins_name ON plugins (name, id);

-- A packed bundle, in parts as it was put. One that no version has, whether it
-- is whole or not, goes an hour after its last part.
CREATE TABLE bundles (
    id         TEXT   NOT NULL PRIMARY KEY,
    project    TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    digest     TEXT   NOT NULL, -- SHA-256 of all of it, hex
    size       BIGINT NOT NULL, -- bytes of all of it
    has        BIGINT NOT NULL, -- bytes that are there
    hash       TEXT   NOT NULL, -- of those: the state of SHA-256, base64; empty: all is there, and has the digest
    idle_since BIGINT NOT NULL, -- its last part came then, by the database's clock, and no version has it; 0: one has
    UNIQUE (project, digest)
);
CREATE INDEX bundles_digest ON bundles (digest);
CREATE INDEX bundles_idle ON bundles (idle_since) WHERE idle_since > 0;

CREATE TABLE bundle_parts (
    bundle TEXT   NOT NULL REFERENCES bundles(id) ON DELETE CASCADE,
    start  BIGINT NOT NULL, -- offset of its first byte
    data   BYTEA  NOT NULL,
    PRIMARY KEY (bundle, start)
);

CREATE TABLE plugin_versions (
    plugin     TEXT   NOT NULL REFERENCES plugins(id) ON DELETE CASCADE,
    version    TEXT   NOT NULL,
    bundle     TEXT   NOT NULL REFERENCES bundles(id),
    signer     TEXT   NOT NULL, -- Ed25519 public key, base64
    signature  TEXT   NOT NULL, -- base64
    runtime    TEXT   NOT NULL, -- this and what follows: of its manifest
    kind       TEXT   NOT NULL,
    api        TEXT   NOT NULL, -- role that it asks for; empty: none
    commands   TEXT   NOT NULL, -- JSON
    created_at BIGINT NOT NULL,
    PRIMARY KEY (plugin, version)
);
CREATE INDEX plugin_versions_bundle ON plugin_versions (bundle);

-- A plugin on a board, as it is wanted.
CREATE TABLE board_plugins (
    id         TEXT    NOT NULL PRIMARY KEY,
    board      TEXT    NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    plugin     TEXT    NOT NULL,
    version    TEXT    NOT NULL,
    params     TEXT    NOT NULL, -- JSON; empty: none
    onboot     INTEGER NOT NULL,
    running    INTEGER NOT NULL,
    start      BIGINT  NOT NULL, -- grows with each start that somebody asked for
    earlier    TEXT    NOT NULL, -- version, params and onboot that the board had up last, where these are others: JSON; empty: none
    injector   TEXT    NOT NULL, -- user for whom it calls the API, and the role
    role       TEXT    NOT NULL, -- that the user had then
    created_at BIGINT  NOT NULL,
    UNIQUE (board, plugin),
    FOREIGN KEY (plugin, version) REFERENCES plugin_versions (plugin, version)
);
CREATE INDEX board_plugins_plugin ON board_plugins (plugin, version);

-- A token of a plugin on a board ends when that leaves it.
ALTER TABLE tokens ADD COLUMN board_plugin TEXT REFERENCES board_plugins(id) ON DELETE CASCADE;
CREATE INDEX tokens_board_plugin ON tokens (board_plugin, created_at) WHERE board_plugin IS NOT NULL;

-- +goose Down
-- There is no way back: restore the backup from before.
SELECT 1;
