-- API keys for models. Only a SHA-256 of each is kept; times are unix seconds.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    scopes TEXT NOT NULL,     -- JSON list
    models TEXT NOT NULL,     -- JSON list of patterns
    priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'critical')),
    limits TEXT NOT NULL,     -- JSON object of what is limited
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;

-- Counts changes of keys, so that all processes notice them by one small read.
CREATE TABLE api_keys_generation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO api_keys_generation (id, generation) VALUES (1, 0);

-- Who did what to which key. The oldest lines go when there are many.
CREATE TABLE api_keys_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    key_id TEXT NOT NULL,
    client TEXT NOT NULL
) STRICT;
