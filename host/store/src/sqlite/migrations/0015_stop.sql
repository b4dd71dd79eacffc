-- When a running task was asked to stop; it has ended once its guest is gone, whatever that answers. NULL if it
-- was not.
ALTER TABLE task ADD COLUMN stop_requested_at INTEGER;
-- Whether it is then removed; else it is kept as cancelled.
ALTER TABLE task ADD COLUMN stop_removes INTEGER NOT NULL DEFAULT 0;
