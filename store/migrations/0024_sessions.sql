-- +goose Up
-- A browser's session is a token that ends, too, when it was not used for so long: microseconds;
-- 0: that is no matter, and nobody notes its use.
ALTER TABLE tokens ADD COLUMN idle BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tokens ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;

-- What logs a browser in, once, as who holds the token.
CREATE TABLE login_codes (
    code_hash  TEXT   PRIMARY KEY,
    token      TEXT   NOT NULL REFERENCES tokens(id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE INDEX login_codes_token ON login_codes (token);
CREATE INDEX login_codes_expiry ON login_codes (expires_at);

-- +goose Down
DROP TABLE login_codes;
ALTER TABLE tokens DROP COLUMN used_at;
ALTER TABLE tokens DROP COLUMN idle;
