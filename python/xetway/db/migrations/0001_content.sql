-- Content: what the xorb files hold and how files are made of them. Hashes are 32 raw bytes.

-- A stored xorb. The chunk list itself is in the file's footer.
CREATE TABLE xorbs (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    chunks INTEGER NOT NULL,
    raw_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,   -- chunk data as served, footer not counted
    touched_at INTEGER NOT NULL,     -- unix seconds: last posted, offered for dedup or named by a shard
    unreferenced_at INTEGER,         -- set by gc when no revision needs it any more
    damaged_at INTEGER               -- set when reading it failed; a new upload of it replaces it
) STRICT, WITHOUT ROWID;

-- A file: its terms are records of 48 bytes, exactly the shard's FileDataSequenceEntry.
CREATE TABLE files (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    size INTEGER NOT NULL,
    sha256 BLOB CHECK (length(sha256) = 32),   -- computed by us from the content, never taken on trust
    terms BLOB NOT NULL,
    touched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE file_xorbs (
    file BLOB NOT NULL REFERENCES files (hash) ON DELETE CASCADE,
    xorb BLOB NOT NULL REFERENCES xorbs (hash),
    PRIMARY KEY (file, xorb)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_xorbs_by_xorb ON file_xorbs (xorb);

-- Chunks that may be asked for in global deduplication, and a xorb that holds each.
CREATE TABLE dedup_chunks (
    chunk BLOB PRIMARY KEY CHECK (length(chunk) = 32),
    xorb BLOB NOT NULL REFERENCES xorbs (hash) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX dedup_chunks_by_xorb ON dedup_chunks (xorb);

-- Secrets of this installation (signing keys), made at first start.
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
