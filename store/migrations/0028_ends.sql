-- +goose Up
-- When the TLS certificate that the process shows ends; 0: it shows none, or did not say.
ALTER TABLE processes ADD COLUMN certificate_until BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE processes DROP COLUMN certificate_until;
