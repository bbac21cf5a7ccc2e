-- Version 2. Every new column can be NULL or has a default, so that a responder of version 1 that still runs goes on recording.

-- When the image was quarantined, until when it is kept then (NULL: until it is released or deleted), and why.
ALTER TABLE image ADD COLUMN quarantined_at INTEGER;
ALTER TABLE image ADD COLUMN quarantined_until INTEGER;
ALTER TABLE image ADD COLUMN quarantine_reason TEXT;
-- Whether it was quarantined because its client was suspended.
ALTER TABLE image ADD COLUMN quarantined_with_client INTEGER NOT NULL DEFAULT 0;

-- With the time, so that counting reads no image.
CREATE INDEX image_in_quarantine ON image (path, quarantined_at) WHERE quarantined_at IS NOT NULL;

-- Digests of images that are not accepted.
CREATE TABLE block (
    sha256     BLOB    PRIMARY KEY CHECK (length(sha256) = 32),
    blocked_at INTEGER NOT NULL,
    reason     TEXT
) STRICT, WITHOUT ROWID;

-- The queue of images that are to be purged from a CDN in front of the site.
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

-- What each client has stored now. The triggers keep it right whatever adds or deletes rows; `verify` compares.
ALTER TABLE client ADD COLUMN stored_images INTEGER NOT NULL DEFAULT 0;
ALTER TABLE client ADD COLUMN stored_bytes INTEGER NOT NULL DEFAULT 0;

UPDATE client SET (stored_images, stored_bytes) = (found.images, found.bytes)
FROM (SELECT client, count(*) AS images, sum(size) AS bytes FROM image GROUP BY client) AS found
WHERE found.client = client.key;

CREATE TRIGGER image_added AFTER INSERT ON image BEGIN
    UPDATE client SET stored_images = stored_images + 1, stored_bytes = stored_bytes + new.size WHERE key = new.client;
END;

CREATE TRIGGER image_deleted AFTER DELETE ON image BEGIN
    UPDATE client SET stored_images = stored_images - 1, stored_bytes = stored_bytes - old.size WHERE key = old.client;
END;

-- A client's images in the order of a listing.
CREATE INDEX image_by_client ON image (client, uploaded_at, path);

-- The address that the image was uploaded from, if it is kept: 16 bytes, IPv4 as IPv4-mapped IPv6.
ALTER TABLE image ADD COLUMN address BLOB;

CREATE INDEX image_with_address ON image (uploaded_at) WHERE address IS NOT NULL;

-- Uploads that had an Idempotency-Key. Of the key and of what was uploaded, the first 16 bytes of their SHA-256.
CREATE TABLE upload_key (
    client      INTEGER NOT NULL REFERENCES client (key),
    key         BLOB    NOT NULL CHECK (length(key) = 16),
    request     BLOB    NOT NULL CHECK (length(request) = 16),
    path        TEXT    NOT NULL,
    uploaded_at INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX upload_key_by_time ON upload_key (uploaded_at);

-- Random keys that this ledger alone has.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL CHECK (length(value) = 64)
) STRICT, WITHOUT ROWID;
