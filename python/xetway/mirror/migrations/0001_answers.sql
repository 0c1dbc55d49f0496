-- What the mirror keeps of the upstream Hub. All of it can be fetched again.
-- An audience is "public", "anonymous" or an HMAC of a token; a repo is "models/namespace/name". Times: unix seconds.

CREATE TABLE answers (
    key BLOB PRIMARY KEY,             -- SHA-256 of audience, method, address and body
    audience TEXT NOT NULL,
    repo TEXT NOT NULL,               -- empty for answers about none
    headers TEXT NOT NULL,            -- JSON object
    body BLOB NOT NULL,
    etag TEXT,
    checked_at INTEGER NOT NULL,      -- when the upstream last said that this is the answer
    used_at INTEGER NOT NULL
) STRICT;
CREATE INDEX answers_by_repo ON answers (repo, audience);
CREATE INDEX answers_by_use ON answers (used_at);

-- Whether anybody may read a repository.
CREATE TABLE repos (
    repo TEXT PRIMARY KEY,
    is_public INTEGER NOT NULL,
    checked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a branch or tag last meant.
CREATE TABLE refs (
    audience TEXT NOT NULL,
    repo TEXT NOT NULL,
    revision TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (audience, repo, revision)
) STRICT, WITHOUT ROWID;

-- Files of commits, as an audience that may read their content was told of them. Without a size: known to be missing.
CREATE TABLE files (
    audience TEXT NOT NULL,
    repo TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    view TEXT NOT NULL,               -- resolve or raw
    path TEXT NOT NULL,
    size INTEGER,
    etag TEXT NOT NULL,
    is_linked INTEGER NOT NULL,       -- stored outside git
    xet BLOB,                         -- xet hash
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (audience, repo, commit_id, view, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX files_by_xet ON files (xet, audience) WHERE xet IS NOT NULL;
CREATE INDEX files_by_etag ON files (etag, audience) WHERE is_linked;

-- Commits whose every file is in `files`.
CREATE TABLE listed (
    audience TEXT NOT NULL,
    repo TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    PRIMARY KEY (audience, repo, commit_id)
) STRICT, WITHOUT ROWID;

-- Files that the upstream's content store gave an audience, for a repository.
CREATE TABLE grants (
    audience TEXT NOT NULL,
    repo TEXT NOT NULL,
    file BLOB NOT NULL,               -- xet hash
    PRIMARY KEY (audience, repo, file)
) STRICT, WITHOUT ROWID;
