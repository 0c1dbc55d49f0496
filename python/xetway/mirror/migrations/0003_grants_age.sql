-- When the upstream's content store last gave the file: what is old is forgotten.
ALTER TABLE grants ADD COLUMN checked_at INTEGER NOT NULL DEFAULT 0;
UPDATE grants SET checked_at = CAST(strftime('%s', 'now') AS INTEGER);
