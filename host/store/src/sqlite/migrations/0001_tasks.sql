-- Times are nanoseconds since 1970 in UTC. States are numbered in rows.rs.
CREATE TABLE task (
    -- The order of acceptance.
    seq          INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    plugin       TEXT    NOT NULL,
    state        INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    created_at   INTEGER NOT NULL,
    ready_at     INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    attempt      INTEGER NOT NULL DEFAULT 0,
    attempts_max INTEGER NOT NULL,
    host_crashes INTEGER NOT NULL DEFAULT 0,
    -- Counts every claim and never goes down: the number of a claim is its fencing token.
    claims       INTEGER NOT NULL DEFAULT 0,
    timeout_ms   INTEGER NOT NULL,
    -- NULL without an input.
    input_bytes  INTEGER,
    cause        TEXT,
    message      TEXT,
    -- Last, because it may be large: columns behind a large one are slow to reach.
    result       TEXT
) STRICT;

-- Both hold the rowid as well, so that a claim reads its candidates in order from the index alone.
CREATE INDEX task_waiting ON task (plugin, ready_at) WHERE state = 0;
CREATE INDEX task_running ON task (state) WHERE state = 1;

-- What is large and written once stands beside the task, so that moving a task never rewrites it.
CREATE TABLE input (
    seq  INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE log (
    seq  INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    seq   INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    state BLOB NOT NULL
) STRICT;
