-- +goose Up

-- The newest event of a project that is not kept any more: each project has a
-- history of its own. What events_trimmed has holds for every project.
CREATE TABLE project_events_trimmed (
    project TEXT   NOT NULL PRIMARY KEY,
    id      BIGINT NOT NULL
);
CREATE INDEX project_events_trimmed_id ON project_events_trimmed (id);

-- A code that nobody has used ends; those of before a week after they were
-- made. 0: there is none, or it was used.
ALTER TABLE boards ADD COLUMN code_expires_at BIGINT NOT NULL DEFAULT 0;
UPDATE boards SET code_expires_at = created_at + 604800000000 WHERE code_used = 0 AND code_hash IS NOT NULL;

-- +goose Down
ALTER TABLE boards DROP COLUMN code_expires_at;
DROP TABLE project_events_trimmed;
