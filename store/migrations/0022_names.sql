-- +goose Up
-- The name that a service has in the cloud's DNS zone, in lower case; empty: none.
ALTER TABLE services ADD COLUMN dns_name TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX services_dns_name ON services (dns_name) WHERE dns_name <> '';

-- +goose Down
DROP INDEX services_dns_name;
ALTER TABLE services DROP COLUMN dns_name;
