-- What is to be done again and again. Times are nanoseconds since 1970 in UTC.
CREATE TABLE schedule (
    name       TEXT    PRIMARY KEY,
    -- Whether it came with the manifest of the plugin of this name.
    manifest   INTEGER NOT NULL,
    cron       TEXT    NOT NULL,
    timezone   TEXT    NOT NULL,
    -- skip, one or all.
    missed     TEXT    NOT NULL,
    overlap    INTEGER NOT NULL,
    -- The request for a task, as JSON, and the plugin that it names.
    task       TEXT    NOT NULL,
    plugin     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    -- Grows with each change of the row: whoever has read an older one must not act on it.
    revision   INTEGER NOT NULL DEFAULT 1,
    paused     INTEGER NOT NULL DEFAULT 0,
    -- When it is due; NULL for never.
    next_at    INTEGER,
    -- The newest moment of which is settled what became of it: none up to here is due again.
    settled_at INTEGER,
    -- The newest run: the moment that it was due at (NULL if it was asked for by hand), when, and its task.
    last_due   INTEGER,
    last_at    INTEGER,
    last_task  BLOB,
    runs       INTEGER NOT NULL DEFAULT 0,
    skipped    INTEGER NOT NULL DEFAULT 0,
    -- Why it is due and has not run.
    last_error TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_next ON schedule (next_at) WHERE paused = 0;

-- The schedule that asked for the task, which may be gone.
ALTER TABLE task ADD COLUMN schedule TEXT;
-- Whether one of a schedule still waits or runs. Tasks of no schedule, which most are, pay nothing for it.
CREATE INDEX task_scheduled ON task (schedule) WHERE schedule IS NOT NULL AND state < 2;
