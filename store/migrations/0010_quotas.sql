-- +goose Up

-- What an admin said of what a project may have; what has no row is as
-- s4t.DefaultQuota says.
CREATE TABLE project_quotas (
    project TEXT   NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    key     TEXT   NOT NULL,
    quota   BIGINT NOT NULL, -- -1: no limit
    PRIMARY KEY (project, key)
);

-- The project of who runs the cloud holds the fleet.
INSERT INTO project_quotas (project, key, quota) SELECT id, 'boards', 100000 FROM projects WHERE name = 'default';

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
ALTER TABLE tokens ADD COLUMN depth INTEGER NOT NULL DEFAULT 0; -- how many made it, one by the other
ALTER TABLE tokens ADD COLUMN login INTEGER NOT NULL DEFAULT 0; -- a login gave it
ALTER TABLE tokens ADD COLUMN source TEXT NOT NULL DEFAULT ''; -- where that login came from
CREATE INDEX tokens_parent ON tokens (parent);
CREATE INDEX tokens_source ON tokens (user_id, source) WHERE login = 1;

-- Lists of a project's tokens and users, for its managers.
DROP INDEX tokens_project;
CREATE INDEX tokens_project ON tokens (project, created_at, id);
DROP INDEX users_project;
CREATE INDEX users_project ON users (project, name);

-- What was refused has a share of the audit of its own.
CREATE INDEX audit_refused ON audit (project, at, id) WHERE outcome <> 'ok';

-- +goose Down
-- There is no way back: restore the backup from before.
SELECT 1;
