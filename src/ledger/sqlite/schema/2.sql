-- Version 2. Every new column can be NULL or has a default, so that a responder of version 1 that still runs goes on recording.

-- When the image was quarantined, until when it is kept then (NULL: until it is released or deleted), and why.
ALTER TABLE image ADD COLUMN quarantined_at INTEGER;
ALTER TABLE image ADD COLUMN quarantined_until INTEGER;
ALTER TABLE image ADD COLUMN quarantine_reason TEXT;

CREATE INDEX image_in_quarantine ON image (path) WHERE quarantined_at IS NOT NULL;

-- Digests of images that are not accepted.
CREATE TABLE block (
    sha256     BLOB    PRIMARY KEY CHECK (length(sha256) = 32),
    blocked_at INTEGER NOT NULL,
    reason     TEXT
) STRICT, WITHOUT ROWID;

-- Images whose URLs a CDN in front still has to forget.
CREATE TABLE purge (
    path     TEXT    PRIMARY KEY,
    since    INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- No attempt before this instant.
    retry_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX purge_by_retry ON purge (retry_at);

-- A client has one current token of each name.
ALTER TABLE token ADD COLUMN name TEXT NOT NULL DEFAULT 'default';
-- To the hour; NULL for a token that was never used.
ALTER TABLE token ADD COLUMN last_used_at INTEGER;

CREATE UNIQUE INDEX token_by_name ON token (client, name) WHERE expires_at IS NULL;
