-- +goose Up

-- Which boards have a label, the first 200 characters of "KEY=VALUE", and in which cell of the earth a board is (package geo;
-- NULL: not known), so that they are found among many.
CREATE TABLE board_labels (
    label   TEXT NOT NULL,
    project TEXT NOT NULL, -- the board's
    board   TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
    PRIMARY KEY (label, project, board)
) WITHOUT ROWID;
CREATE INDEX board_labels_board ON board_labels (board);
INSERT INTO board_labels (label, project, board)
    SELECT DISTINCT substr(l.key || '=' || l.value, 1, 200), b.project, b.id FROM boards b, json_each(CASE WHEN b.labels = '' THEN '{}' ELSE b.labels END) l WHERE l.type = 'text';

ALTER TABLE boards ADD COLUMN cell BIGINT;
UPDATE boards SET cell =
    MIN(MAX(CAST((json_extract(location, '$.latitude') + 90) * 10 AS INTEGER), 0), 1799) * 3600 +
    MIN(MAX(CAST((json_extract(location, '$.longitude') + 180) * 10 AS INTEGER), 0), 3599) WHERE location <> '';
CREATE INDEX boards_cell ON boards (cell) WHERE cell IS NOT NULL;

-- +goose Down
DROP INDEX boards_cell;
ALTER TABLE boards DROP COLUMN cell;
DROP TABLE board_labels;
