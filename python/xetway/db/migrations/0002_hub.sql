-- Repositories: git objects, revisions, tokens. Object ids are 20 raw bytes (SHA-1, as git), times unix seconds.

CREATE TABLE repos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never reused: xet tokens name it
    type TEXT NOT NULL CHECK (type IN ('model', 'dataset', 'space', 'kernel')),
    namespace TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE,
    private INTEGER NOT NULL CHECK (private IN (0, 1)),
    sdk TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    next_pull INTEGER NOT NULL DEFAULT 1,   -- number of the next pull request or discussion
    UNIQUE (type, namespace, name)
) STRICT;

-- Names that a moved repository had before; they keep working until someone takes them.
CREATE TABLE repo_aliases (
    type TEXT NOT NULL,
    namespace TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL COLLATE NOCASE,
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    PRIMARY KEY (type, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_aliases_by_repo ON repo_aliases (repo_id);

-- Files a repository may use: uploaded with a write token for it, or part of its history.
CREATE TABLE repo_files (
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    file BLOB NOT NULL REFERENCES files (hash),
    sha256 BLOB CHECK (length(sha256) = 32),
    added_at INTEGER NOT NULL,
    PRIMARY KEY (repo_id, file)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_files_by_sha256 ON repo_files (sha256, repo_id);
CREATE INDEX repo_files_by_file ON repo_files (file);

-- Trees and commits: the bytes that git hashes, without git's header. Shared by all repositories.
CREATE TABLE git_objects (
    oid BLOB PRIMARY KEY CHECK (length(oid) = 20),
    kind TEXT NOT NULL CHECK (kind IN ('tree', 'commit')),
    data BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Blobs. Small content is in `data`; larger content, and all LFS content, is a file of the content store.
-- For LFS the oid is that of the pointer text, size and sha256 are those of the content.
CREATE TABLE blobs (
    oid BLOB PRIMARY KEY CHECK (length(oid) = 20),
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    is_lfs INTEGER NOT NULL CHECK (is_lfs IN (0, 1)),
    data BLOB,
    file BLOB REFERENCES files (hash),
    xet BLOB CHECK (length(xet) = 32),   -- the xet hash of content in `data`
    CHECK ((data IS NULL) <> (file IS NULL)),
    CHECK ((data IS NULL) = (xet IS NULL))
) STRICT;
CREATE INDEX blobs_by_file ON blobs (file);
CREATE INDEX blobs_by_xet ON blobs (xet);
CREATE INDEX blobs_by_sha256 ON blobs (sha256);

-- The small contents in a repository's history, as `repo_files` is for what is in the content store.
CREATE TABLE repo_blobs (
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    oid BLOB NOT NULL REFERENCES blobs (oid) ON DELETE CASCADE,
    PRIMARY KEY (repo_id, oid)
) STRICT, WITHOUT ROWID;
CREATE INDEX repo_blobs_by_oid ON repo_blobs (oid);

-- The commits that a repository has, with what listings show of them.
CREATE TABLE commits (
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    oid BLOB NOT NULL REFERENCES git_objects (oid),
    tree BLOB NOT NULL REFERENCES git_objects (oid),
    parent BLOB,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    date INTEGER NOT NULL,
    PRIMARY KEY (repo_id, oid),
    FOREIGN KEY (repo_id, parent) REFERENCES commits (repo_id, oid)
) STRICT, WITHOUT ROWID;
CREATE INDEX commits_by_oid ON commits (oid);
CREATE INDEX commits_by_tree ON commits (tree);
CREATE INDEX commits_by_parent ON commits (repo_id, parent);

-- refs/heads/..., refs/tags/..., refs/pr/N
CREATE TABLE refs (
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    oid BLOB NOT NULL,
    message TEXT,
    PRIMARY KEY (repo_id, name),
    FOREIGN KEY (repo_id, oid) REFERENCES commits (repo_id, oid)
) STRICT, WITHOUT ROWID;
CREATE INDEX refs_by_oid ON refs (repo_id, oid);

CREATE TABLE pulls (
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    num INTEGER NOT NULL,
    is_pull INTEGER NOT NULL CHECK (is_pull IN (0, 1)),
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (repo_id, num)
) STRICT, WITHOUT ROWID;

-- Hub tokens. Only a SHA-256 of each is kept.
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    user TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write')),
    patterns TEXT NOT NULL,   -- JSON list
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;
