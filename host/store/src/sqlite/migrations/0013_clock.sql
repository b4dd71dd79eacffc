-- The latest time at which a task was accepted, started or ended, up to a second old. A host that starts later than
-- that need not look for tasks that wait for a clock which went back. Of older databases it is not known.
ALTER TABLE host ADD COLUMN latest INTEGER NOT NULL DEFAULT 9223372036854775807;
