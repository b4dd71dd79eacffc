-- Minutes of waiting that a task is given ahead of others; below 0, behind them.
ALTER TABLE task ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
-- The place in the line of a task with a priority: the time it is ready less its head start, or the
-- largest number until it is ready. NULL without a priority: then ready_at is the place.
ALTER TABLE task ADD COLUMN rank INTEGER;
-- A JSON array of texts; NULL without any.
ALTER TABLE task ADD COLUMN tags TEXT;
ALTER TABLE task ADD COLUMN unique_key TEXT;
-- The id of the task that this one does again, which may be gone.
ALTER TABLE task ADD COLUMN retry_of BLOB;

DROP INDEX task_waiting;
CREATE INDEX task_waiting ON task (plugin, rank, ready_at) WHERE state = 0;
-- The longest ready of those with a priority; the others pay nothing for it.
CREATE INDEX task_ranked ON task (plugin, ready_at) WHERE state = 0 AND rank IS NOT NULL;
-- Tasks without a key, which most are, pay nothing for it.
CREATE UNIQUE INDEX task_live_key ON task (unique_key) WHERE unique_key IS NOT NULL AND state < 2;

-- The tags once more, in the order in which a list reads them.
CREATE TABLE tag (
    name TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (name, seq)
) STRICT, WITHOUT ROWID;

-- Not by a foreign key: that would look for tags whenever a task goes that has none.
CREATE TRIGGER task_untag AFTER DELETE ON task WHEN OLD.tags IS NOT NULL BEGIN
    DELETE FROM tag WHERE seq = OLD.seq AND name IN (SELECT value FROM json_each(OLD.tags));
END;

-- What was answered to requests that may be sent again. The oldest stand first.
CREATE TABLE request (
    seq        INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL UNIQUE,
    -- The SHA-256 of what was asked for.
    digest     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    -- 32 bytes for each task, see keys.rs.
    answer     BLOB    NOT NULL
) STRICT;

-- How attempts ended after which the task went on; that of the last one stands with the task.
CREATE TABLE attempt (
    seq           INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    outcome       TEXT    NOT NULL,
    message       TEXT,
    started_at    INTEGER,
    finished_at   INTEGER NOT NULL,
    plugin_digest TEXT,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;

-- Nothing is looked for where there can be nothing: most tasks end well or badly with their first claim.
CREATE TRIGGER task_attempts AFTER DELETE ON task WHEN OLD.claims > 1 OR OLD.state NOT IN (2, 3) BEGIN
    DELETE FROM attempt WHERE seq = OLD.seq;
END;

-- What is not started until it is resumed: a plugin, or everything if the name is empty.
CREATE TABLE pause (plugin TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
