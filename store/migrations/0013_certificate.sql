-- +goose Up

-- What the cloud shows as its certificate and what it announced to come: names
-- as boards tell whom they trust. One row, from the first start on.
CREATE TABLE certificate (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    shown TEXT    NOT NULL, -- SHA-256 of the CA certificate's DER, hex; or system
    next  TEXT    NOT NULL  -- the same of those announced, with spaces between them; empty: none
);
