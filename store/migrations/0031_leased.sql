-- +goose Up

-- What a lease made, and goes with it; empty: nobody's lease did.
ALTER TABLE ports ADD COLUMN lease TEXT NOT NULL DEFAULT '';
ALTER TABLE services ADD COLUMN lease TEXT NOT NULL DEFAULT '';
ALTER TABLE board_plugins ADD COLUMN lease TEXT NOT NULL DEFAULT '';
CREATE INDEX ports_lease ON ports (lease) WHERE lease <> '';
CREATE INDEX services_lease ON services (lease) WHERE lease <> '';
CREATE INDEX board_plugins_lease ON board_plugins (lease) WHERE lease <> '';

-- When the boards of a lease that was pre-empted are free next; 0: it was not, or they are not.
ALTER TABLE board_leases ADD COLUMN next_free BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE board_leases DROP COLUMN next_free;
DROP INDEX board_plugins_lease;
DROP INDEX services_lease;
DROP INDEX ports_lease;
ALTER TABLE board_plugins DROP COLUMN lease;
ALTER TABLE services DROP COLUMN lease;
ALTER TABLE ports DROP COLUMN lease;
