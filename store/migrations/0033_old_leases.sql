-- +goose Up
CREATE INDEX board_leases_over ON board_leases (ends_at, id) WHERE status NOT IN ('pending', 'active');
CREATE INDEX lease_boards_offer ON lease_boards (offer); -- for offers that are taken back

-- +goose Down
DROP INDEX lease_boards_offer;
DROP INDEX board_leases_over;
