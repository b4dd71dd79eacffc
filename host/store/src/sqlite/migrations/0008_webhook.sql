-- Of which ends of the task a receiver is told, a bit for each state by its number; NULL for none, as most have.
ALTER TABLE task ADD COLUMN webhook INTEGER;

-- The receiver of each such task, and what has become of telling it.
CREATE TABLE webhook (
    seq     INTEGER PRIMARY KEY,
    url     TEXT    NOT NULL,
    -- Scheme, host and port of the URL: one slow receiver must not hold up the others.
    origin  TEXT    NOT NULL,
    -- 0 there is nothing to deliver (yet), 1 pending, 2 delivered, 3 given up.
    state   INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    -- Since when it has been pending, and when it is tried next.
    since   INTEGER,
    next_at INTEGER,
    tries   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is due, by receiver, and what has been due for longest. Nobody pays for what is over.
CREATE INDEX webhook_pending ON webhook (origin, next_at) WHERE state = 1;
CREATE INDEX webhook_oldest ON webhook (since) WHERE state = 1;

-- How the newest tries went.
CREATE TABLE webhook_try (
    seq     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    -- NULL if there was no answer.
    status  INTEGER,
    error   TEXT,
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;

-- Not by a foreign key: that would look for rows whenever a task goes that has none.
CREATE TRIGGER task_unhook AFTER DELETE ON task WHEN OLD.webhook IS NOT NULL BEGIN
    DELETE FROM webhook WHERE seq = OLD.seq;
    DELETE FROM webhook_try WHERE seq = OLD.seq;
END;
