-- +goose Up
-- What a board says of itself and many others say too: lists of thousands of boards read this and
-- not info, which is long. Empty: it said nothing since, and info has it.
ALTER TABLE boards ADD COLUMN brief TEXT NOT NULL DEFAULT '';
-- The address that its last session came from; empty: it is not known.
ALTER TABLE boards ADD COLUMN public_address TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE boards DROP COLUMN public_address;
ALTER TABLE boards DROP COLUMN brief;
