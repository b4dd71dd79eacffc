-- The waits between attempts; NULL for those of the host, else all three are there.
ALTER TABLE task ADD COLUMN backoff_first_ms INTEGER;
ALTER TABLE task ADD COLUMN backoff_factor REAL;
ALTER TABLE task ADD COLUMN backoff_most_ms INTEGER;
-- The SHA-256 of the plugin that the newest ended attempt ran. All of these stand behind the result,
-- which may be large, but that is only there once nobody but those who read it reads the task.
ALTER TABLE task ADD COLUMN plugin_digest TEXT;
