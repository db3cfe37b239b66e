-- +goose Up
-- When each board took the steps of an operation that each takes by itself: JSON of s4t.Lanes; empty: none.
ALTER TABLE operations ADD COLUMN lanes TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE operations DROP COLUMN lanes;
