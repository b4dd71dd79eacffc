-- The schema. Times are nanoseconds since 1970 in UTC.

CREATE TABLE task (
    -- The order of acceptance.
    seq             INTEGER PRIMARY KEY,
    id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    plugin          TEXT    NOT NULL,
    -- A chain of comparisons, the usual state first: an IN list would build a table for each row.
    state           TEXT    NOT NULL CHECK (
        state = 'available' OR state = 'running' OR state = 'completed' OR state = 'failed' OR
        state = 'cancelled' OR state = 'scheduled' OR state = 'suspended' OR state = 'blocked'),
    created_at      INTEGER NOT NULL,
    -- When it becomes or became available; of a blocked task, when it may do so at the earliest.
    ready_at        INTEGER NOT NULL,
    -- The order in which available tasks are claimed: ready_at less the head start of its priority.
    sort_key        INTEGER NOT NULL,
    -- How long it was to wait when ready_at was set: if the clock goes back it waits that long again, and no longer.
    -- NULL for a task that was available at once, and for one that starts at a time of the calendar.
    wait_ns         INTEGER,
    started_at      INTEGER,
    finished_at     INTEGER,
    attempt         INTEGER NOT NULL DEFAULT 0,
    attempts_max    INTEGER NOT NULL,
    host_crashes    INTEGER NOT NULL DEFAULT 0,
    -- How often the attempt under way was suspended. Above 0, a claim continues the attempt.
    suspensions     INTEGER NOT NULL DEFAULT 0,
    -- What resumes it before ready_at while it is suspended, a bit for each; see host/store/src/stored/wake_on.rs.
    wake_on         INTEGER NOT NULL DEFAULT 0,
    -- How many events were ever posted to it: each has the next number.
    events_posted   INTEGER NOT NULL DEFAULT 0,
    -- The number of its newest claim, which fences late writes. It never goes down.
    claim_token     INTEGER NOT NULL DEFAULT 0,
    -- When a running task was asked to stop; it has finished once its guest is gone, whatever that answers.
    stop_requested_at INTEGER,
    -- Whether it is then removed; else it is cancelled.
    stop_removes    INTEGER NOT NULL DEFAULT 0,
    timeout_ms      INTEGER NOT NULL,
    -- NULL for the backoff of the host, else all four are there.
    backoff_first_ms INTEGER,
    backoff_factor  REAL,
    backoff_max_ms  INTEGER,
    backoff_jitter  REAL,
    priority        INTEGER NOT NULL DEFAULT 0,
    -- The fair share within its plugin that it belongs to; NULL for the plugin's own.
    task_group      TEXT,
    unique_key      TEXT,
    -- Among which tasks its unique key is unique: those of one reach of keys; empty for keys without one.
    key_space       TEXT    NOT NULL DEFAULT '',
    -- A JSON array of texts; NULL without any.
    tags            TEXT,
    -- The schedule that created it, which may be gone.
    schedule        TEXT,
    -- The id of the key that submitted it, which may be gone.
    submitted_by    TEXT,
    -- The name of the key whose limits count it; NULL for keys without any.
    limit_key       TEXT,
    -- The id of the task that it retries, which may be gone.
    retry_of        BLOB,
    -- How many of its dependencies have not finished; NULL for a task without any.
    pending_dependencies INTEGER,
    -- The outcomes that trigger its webhook, a bit for each, see read/rows.rs; NULL without a webhook.
    webhook_on      INTEGER,
    -- The trace context of its request: a traceparent, and behind a space the tracestate if there is one.
    trace           TEXT,
    -- NULL without an input.
    input_bytes     INTEGER,
    -- The bytes of the files that came with it, and of those that it left; NULL without any.
    files_in        INTEGER,
    files_out       INTEGER,
    -- The id of the task that submitted it as its child, which may be gone; its name among the children of that one, and
    -- how many tasks are above it. NULL for a task without a parent.
    parent          BLOB,
    child_name      TEXT,
    depth           INTEGER,
    -- How many children it has submitted, how many of them have ended, and how many had when its run began.
    children        INTEGER NOT NULL DEFAULT 0,
    children_ended  INTEGER NOT NULL DEFAULT 0,
    children_seen   INTEGER NOT NULL DEFAULT 0,
    -- How many numbers were given to lines of its log: they count on from run to run.
    log_lines       INTEGER NOT NULL DEFAULT 0,
    -- The SHA-256 of the plugin that the newest ended attempt ran.
    plugin_digest   TEXT,
    -- What the newest ended attempt used, as a JSON array in the order of read/usage.rs, zeros at its end left out.
    usage           TEXT,
    cause           TEXT,
    -- What the result is: a media type, with ;base64 behind it if it is kept so; NULL for text of a plugin that declares
    -- nothing.
    result_type     TEXT,
    -- Last, because they may be large: columns behind a large one are slow to reach.
    message         TEXT,
    result          TEXT
) STRICT;

-- What claims read, in their order: each group of a plugin is a queue of its own. An available task without a group and
-- with the usual priority, which most are, is in no other index of waiting tasks.
CREATE INDEX task_available ON task (plugin, task_group, sort_key) WHERE state = 'available';
-- What becomes available next.
CREATE INDEX task_due ON task (ready_at) WHERE state = 'scheduled' OR state = 'suspended';
-- The other waiting tasks for lists, counts and ages.
CREATE INDEX task_later ON task (plugin, state, ready_at)
    WHERE state = 'scheduled' OR state = 'suspended' OR state = 'blocked';
-- The ages of available tasks that task_available does not order by their age.
CREATE INDEX task_preferred ON task (plugin, ready_at)
    WHERE state = 'available' AND (priority <> 0 OR task_group IS NOT NULL);
-- The rare states, so that a list of them need not walk all the others. Tasks that complete, which most do, pay nothing
-- for it once they have. It holds the rowid, which is the order of a list. One index for the three: each index costs
-- every update of a state, 2 of 17 microseconds of a claim and its end.
CREATE INDEX task_rare ON task (state) WHERE state = 'running' OR state = 'failed' OR state = 'cancelled';
-- What has finished, in that order: retention takes from its front. It only grows at its back, which is cheap.
CREATE INDEX task_finished ON task (finished_at) WHERE finished_at IS NOT NULL;
-- Tasks without a key, a schedule or a group, which most are, pay nothing for these.
CREATE UNIQUE INDEX task_unfinished_key ON task (unique_key, key_space)
    WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_unfinished_of_schedule ON task (schedule) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_of_key ON task (unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX task_of_schedule ON task (schedule) WHERE schedule IS NOT NULL;
-- Those that are no children, which most are, pay nothing for these.
CREATE INDEX task_of_parent ON task (parent) WHERE parent IS NOT NULL;
CREATE INDEX task_unfinished_child ON task (parent) WHERE parent IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_of_group ON task (task_group) WHERE task_group IS NOT NULL;

-- What is large and written once stands beside the task, so that moving a task never rewrites it.
CREATE TABLE input (
    seq  INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    body TEXT NOT NULL
) STRICT;

-- The logs of all runs of a task, the newest last; host/store/src/live/log/body.rs says how.
CREATE TABLE log (
    seq  INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    seq  INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

-- Events posted to unfinished tasks that no run has taken for good, by their numbers.
CREATE TABLE posted_event (
    seq     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    -- NULL without a name.
    name    TEXT,
    payload TEXT    NOT NULL,
    PRIMARY KEY (seq, number)
) STRICT;

-- Tasks without events, which most are, pay nothing for this. What finishes a task deletes its events.
CREATE TRIGGER task_forget_events AFTER DELETE ON task WHEN OLD.events_posted > 0 BEGIN
    DELETE FROM posted_event WHERE seq = OLD.seq;
END;

-- The files of tasks. Their bytes are in the folder files, each content in a file of its own: see content/folder.rs.
CREATE TABLE task_file (
    seq        INTEGER NOT NULL,
    -- 0 came with the task, 1 was left by its run.
    direction  INTEGER NOT NULL CHECK (direction BETWEEN 0 AND 1),
    name       TEXT    NOT NULL,
    media_type TEXT    NOT NULL,
    content    BLOB    NOT NULL CHECK (length(content) = 16),
    bytes      INTEGER NOT NULL,
    sha256     BLOB    NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (seq, direction, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX task_file_content ON task_file (content);

-- Contents that no task refers to, or that a task has ceased to refer to while others may: since when. 0 for those that
-- may go at once; -1 for those that go, to which nothing may refer again.
CREATE TABLE unused_content (content BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX unused_content_at ON unused_content (at);

CREATE TRIGGER task_forget_files AFTER DELETE ON task WHEN OLD.files_in IS NOT NULL OR OLD.files_out IS NOT NULL BEGIN
    INSERT OR IGNORE INTO unused_content SELECT content, 0 FROM task_file WHERE seq = OLD.seq;
    DELETE FROM task_file WHERE seq = OLD.seq;
END;

-- The tags once more, in the order in which a list reads them.
CREATE TABLE tag (
    name TEXT    NOT NULL,
    seq  INTEGER NOT NULL,
    PRIMARY KEY (name, seq)
) STRICT, WITHOUT ROWID;

-- Triggers rather than foreign keys: those would look for rows whenever a task goes that has none.
CREATE TRIGGER task_untag AFTER DELETE ON task WHEN OLD.tags IS NOT NULL BEGIN
    DELETE FROM tag WHERE seq = OLD.seq AND name IN (SELECT value FROM json_each(OLD.tags));
END;

-- How attempts ended that were followed by another; that of the last one stands with the task.
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

-- Most tasks complete or fail with their first claim and have no rows.
CREATE TRIGGER task_forget_attempts AFTER DELETE ON task
WHEN OLD.claim_token > 1 OR OLD.state NOT IN ('completed', 'failed') BEGIN
    DELETE FROM attempt WHERE seq = OLD.seq;
END;

-- What a task that waits for others was asked for.
CREATE TABLE dependent (
    seq          INTEGER PRIMARY KEY,
    -- What becomes of it when one of them does not complete: 0 it is cancelled, 1 it runs all the same.
    on_failure   INTEGER NOT NULL CHECK (on_failure BETWEEN 0 AND 1),
    pass_results INTEGER NOT NULL CHECK (pass_results BETWEEN 0 AND 1),
    -- How it gets the files that they leave; NULL for not at all.
    files_from   TEXT    CHECK (files_from IN ('dependencies', 'dependency-folders')),
    -- When it may start at the earliest; NULL for at once.
    run_at       INTEGER
) STRICT;

CREATE TABLE dependency (
    -- The dependent, and the position among its dependencies.
    seq      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    -- The task that it waits for, which may be gone.
    id       BLOB    NOT NULL,
    -- The name of a child, which its parent has submitted; NULL for a dependency of the request.
    name     TEXT,
    -- The row of that task while its outcome, its result or its files are needed.
    on_seq   INTEGER,
    -- The state in which that task finished; NULL before.
    outcome  TEXT,
    PRIMARY KEY (seq, position)
) STRICT, WITHOUT ROWID;

-- A name is given once.
CREATE UNIQUE INDEX dependency_child ON dependency (seq, name) WHERE name IS NOT NULL;

-- The dependents of a task, unresolved ones first.
CREATE INDEX dependency_on ON dependency (on_seq, outcome) WHERE on_seq IS NOT NULL;

-- All dependents of a task.
CREATE INDEX dependency_of ON dependency (id);

-- Finished tasks with unresolved dependents, or with children that are to be cancelled.
CREATE TABLE dependency_end (
    seq   INTEGER PRIMARY KEY,
    state TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    -- Its id, if it had children.
    parent BLOB
) STRICT;

CREATE TRIGGER task_forget_dependencies AFTER DELETE ON task WHEN OLD.pending_dependencies IS NOT NULL OR OLD.children > 0 BEGIN
    DELETE FROM dependency WHERE seq = OLD.seq;
    DELETE FROM dependent WHERE seq = OLD.seq;
END;

-- The webhook of a task, and its delivery.
CREATE TABLE webhook (
    seq             INTEGER PRIMARY KEY,
    url             TEXT    NOT NULL,
    -- Scheme, host and port of the URL: one slow receiver must not hold up the others.
    origin          TEXT    NOT NULL,
    -- idle: nothing to deliver (yet).
    state           TEXT    NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'pending', 'delivered', 'given-up')),
    pending_since   INTEGER,
    next_attempt_at INTEGER,
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- How often a redelivery was requested, and the attempts made before the latest request: each gets as many as
    -- the first delivery.
    round           INTEGER NOT NULL DEFAULT 0,
    attempts_before INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Due deliveries by receiver, and the longest pending one. Nobody pays for those that are over.
CREATE INDEX webhook_pending ON webhook (origin, next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_oldest ON webhook (pending_since) WHERE state = 'pending';

-- The newest delivery attempts.
CREATE TABLE webhook_attempt (
    seq     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    -- NULL if there was no answer.
    status  INTEGER,
    error   TEXT,
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER task_forget_webhook AFTER DELETE ON task WHEN OLD.webhook_on IS NOT NULL BEGIN
    DELETE FROM webhook WHERE seq = OLD.seq;
    DELETE FROM webhook_attempt WHERE seq = OLD.seq;
END;

-- Answers to requests with an idempotency key, the oldest first.
CREATE TABLE idempotency (
    seq        INTEGER PRIMARY KEY,
    key        TEXT    NOT NULL UNIQUE,
    -- The SHA-256 of the request.
    digest     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    -- 32 bytes for each task, see queue/idempotency.rs.
    answer     BLOB    NOT NULL
) STRICT;

CREATE TABLE schedule (
    name            TEXT    PRIMARY KEY,
    -- Whether it came with the manifest of the plugin of this name.
    from_manifest   INTEGER NOT NULL,
    cron            TEXT    NOT NULL,
    timezone        TEXT    NOT NULL,
    -- skip, one or all.
    missed          TEXT    NOT NULL,
    overlap         INTEGER NOT NULL,
    -- The task request as JSON, and the plugin that it names.
    task            TEXT    NOT NULL,
    plugin          TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    -- Grows with each change of the row: a writer that has read an older one must not act on it.
    revision        INTEGER NOT NULL DEFAULT 1,
    paused          INTEGER NOT NULL DEFAULT 0,
    -- NULL for never.
    next_at         INTEGER,
    -- Times up to here are run or skipped: none of them becomes due again.
    evaluated_until INTEGER,
    -- The newest run: the time at which it was due (NULL if it was requested by hand), its start, and its task.
    last_due        INTEGER,
    last_at         INTEGER,
    last_task       BLOB,
    runs            INTEGER NOT NULL DEFAULT 0,
    skipped         INTEGER NOT NULL DEFAULT 0,
    -- Why it is due and has not run.
    last_error      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX schedule_next ON schedule (next_at) WHERE paused = 0;

-- What is not started until it is resumed: a plugin, or everything if the name is empty.
CREATE TABLE pause (plugin TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- Recent starts of plugins with a rate limit.
CREATE TABLE recent_start (
    plugin TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (plugin, at)
) STRICT, WITHOUT ROWID;

-- How many tasks of each plugin ever finished, and how many of them were removed since. Written once for each batch.
CREATE TABLE finished_count (
    plugin  TEXT    NOT NULL,
    state   TEXT    NOT NULL,
    tasks   INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (plugin, state)
) STRICT, WITHOUT ROWID;

-- What the tasks of each limited key take up: how many wait, and the bytes of inputs and of what ended tasks left.
CREATE TABLE key_usage (
    key          TEXT    PRIMARY KEY,
    waiting      INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row of what the host remembers from one start to the next.
CREATE TABLE host (
    id              INTEGER PRIMARY KEY CHECK (id = 0),
    -- Event numbers below this may have been assigned.
    events_reserved INTEGER NOT NULL,
    -- The latest time at which a task was accepted, started or finished, up to a second old: a host that starts
    -- earlier than that looks for waits that must be shortened.
    latest          INTEGER NOT NULL
) STRICT;
INSERT INTO host (id, events_reserved, latest) VALUES (0, 1, 0);
