-- +goose Up
CREATE INDEX board_leases_over ON board_leases (ends_at, id) WHERE status NOT IN ('pending', 'active');

-- +goose Down
DROP INDEX board_leases_over;
