-- Version 1 of the ledger. Times are Unix seconds (UTC), days are Unix time / 86400.

CREATE TABLE client (
    key         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL,
    plan        TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER,
    -- A client that was removed keeps its row, because its images and its usage outlive it.
    removed_at  INTEGER
) STRICT;

CREATE UNIQUE INDEX client_by_id ON client (id) WHERE removed_at IS NULL;

CREATE TABLE token (
    client     INTEGER NOT NULL REFERENCES client (key),
    sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
    created_at INTEGER NOT NULL,
    -- NULL for the present token; set for one that was rotated out and overlaps.
    expires_at INTEGER,
    PRIMARY KEY (client, sha256)
) STRICT, WITHOUT ROWID;

-- Counted in the transaction that inserts the image. Deleting an image gives no quota back.
CREATE TABLE usage (
    client  INTEGER NOT NULL REFERENCES client (key),
    day     INTEGER NOT NULL,
    uploads INTEGER NOT NULL CHECK (uploads >= 0),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (client, day)
) STRICT, WITHOUT ROWID;

-- Without a rowid and keyed by path, the images of one class and day lie side by side: inserts of a day touch few pages
-- however many images there are.
CREATE TABLE image (
    path        TEXT    PRIMARY KEY,
    client      INTEGER NOT NULL REFERENCES client (key),
    size        INTEGER NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    uploaded_at INTEGER NOT NULL,
    -- NULL for a lifetime image.
    expires_at  INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX image_by_expiry ON image (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE meta (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
