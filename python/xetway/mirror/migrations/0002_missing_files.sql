-- Finds the oldest of the files that are known to be missing: anybody can ask for names that nothing has.
CREATE INDEX files_missing ON files (checked_at) WHERE size IS NULL;
