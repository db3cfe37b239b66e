-- +goose Up

-- What an admin said of what a project may have; what has no row is as
-- s4t.DefaultQuota says.
CREATE TABLE project_quotas (
    project TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    key     TEXT   NOT NULL,
    quota   BIGINT NOT NULL, -- -1: no limit
    PRIMARY KEY (project, key)
);

-- What an agent says that it holds of a quota now. It may speak of a project
-- that has just gone: no reference.
CREATE TABLE project_use (
    agent   TEXT   NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
    project TEXT   NOT NULL,
    key     TEXT   NOT NULL,
    used    BIGINT NOT NULL,
    PRIMARY KEY (agent, project, key)
);
CREATE INDEX project_use_project ON project_use (project, key);

-- A token ends with the one that made it. Those from before have no parent.
ALTER TABLE tokens ADD COLUMN parent TEXT REFERENCES tokens(id) ON DELETE CASCADE;
ALTER TABLE tokens ADD COLUMN login INTEGER NOT NULL DEFAULT 0; -- a login gave it
CREATE INDEX tokens_parent ON tokens (parent);
DROP INDEX tokens_project;
CREATE INDEX tokens_project ON tokens (project, login, created_at, id);

-- +goose Down
-- There is no way back: restore the backup from before.
SELECT 1;
