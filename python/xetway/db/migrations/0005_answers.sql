-- Cached answers of models that were cleared, of all of them where `model` is NULL; unix seconds. Each process does
-- for itself what comes after what it knows; the oldest lines go when there are many.
CREATE TABLE answers_cleared (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    model TEXT,
    who TEXT NOT NULL,
    client TEXT NOT NULL
) STRICT;
