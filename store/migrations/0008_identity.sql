-- +goose Up
-- Lists of tokens are pages, oldest first: of a user, and of all.
DROP INDEX tokens_user;
CREATE INDEX tokens_user ON tokens (user_id, created_at, id);
CREATE INDEX tokens_age ON tokens (created_at, id);
CREATE INDEX tokens_expiry ON tokens (expires_at);
CREATE INDEX users_admins ON users (id) WHERE role = 'admin';

-- +goose Down
DROP INDEX users_admins;
DROP INDEX tokens_expiry;
DROP INDEX tokens_age;
DROP INDEX tokens_user;
CREATE INDEX tokens_user ON tokens (user_id);
