-- The schema, as that of the embedded backend. Times are nanoseconds since 1970 in UTC. No foreign keys and no
-- triggers: each would cost every row, so deletes name the tables beside the task.

CREATE TABLE task (
    -- The order of acceptance.
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              uuid   NOT NULL UNIQUE,
    plugin          text   COLLATE "C" NOT NULL,
    state           text   NOT NULL CHECK (state IN ('available', 'running', 'completed', 'failed', 'cancelled',
                                                     'scheduled', 'suspended', 'blocked')),
    created_at      bigint NOT NULL,
    -- When it becomes or became available; of a blocked task, when it may do so at the earliest.
    ready_at        bigint NOT NULL,
    -- The order in which available tasks are claimed: ready_at less the head start of its priority.
    sort_key        bigint NOT NULL,
    -- How long it was to wait when ready_at was set; NULL for a task that was available at once, and for one that
    -- starts at a time of the calendar.
    wait_ns         bigint,
    started_at      bigint,
    finished_at     bigint,
    attempt         bigint NOT NULL DEFAULT 0,
    attempts_max    bigint NOT NULL,
    host_crashes    bigint NOT NULL DEFAULT 0,
    suspensions     bigint NOT NULL DEFAULT 0,
    -- The number of its newest claim, which fences late writes. It never goes down.
    claim_token     bigint NOT NULL DEFAULT 0,
    stop_requested_at bigint,
    stop_removes    bool   NOT NULL DEFAULT false,
    timeout_ms      bigint NOT NULL,
    backoff_first_ms bigint,
    backoff_factor  double precision,
    backoff_max_ms  bigint,
    backoff_jitter  double precision,
    priority        bigint NOT NULL DEFAULT 0,
    -- Empty for the plugin's own.
    task_group      text   COLLATE "C" NOT NULL DEFAULT '',
    unique_key      text   COLLATE "C",
    tags            text[] COLLATE "C",
    schedule        text   COLLATE "C",
    submitted_by    text   COLLATE "C",
    retry_of        uuid,
    pending_dependencies bigint,
    -- The outcomes that trigger its webhook, a bit for each; NULL without a webhook.
    webhook_on      bigint,
    trace           text,
    input_bytes     bigint,
    log_lines       bigint NOT NULL DEFAULT 0,
    plugin_digest   text,
    usage           text,
    cause           text,
    -- What guests write may hold NUL, which text cannot.
    message         bytea,
    result          bytea
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

-- What claims read, in their order: each group of a plugin is a queue of its own.
CREATE INDEX task_available ON task (plugin, task_group, sort_key, seq) WHERE state = 'available';
-- What becomes available next.
CREATE INDEX task_due ON task (ready_at, seq) WHERE state IN ('scheduled', 'suspended');
CREATE INDEX task_waiting ON task (plugin, state, ready_at)
    WHERE state IN ('available', 'scheduled', 'suspended', 'blocked');
CREATE INDEX task_running ON task (seq) WHERE state = 'running';
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE INDEX task_cancelled ON task (seq) WHERE state = 'cancelled';
CREATE INDEX task_finished ON task (finished_at, seq) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX task_unfinished_key ON task (unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_unfinished_of_schedule ON task (schedule) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_of_key ON task (unique_key, seq) WHERE unique_key IS NOT NULL;
CREATE INDEX task_of_schedule ON task (schedule, seq) WHERE schedule IS NOT NULL;
CREATE INDEX task_of_group ON task (task_group, seq) WHERE task_group <> '';

CREATE TABLE input (seq bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE log (seq bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE checkpoint (seq bigint PRIMARY KEY, body bytea NOT NULL);

-- The tags once more, in the order in which a list reads them.
CREATE TABLE tag (name text COLLATE "C" NOT NULL, seq bigint NOT NULL, PRIMARY KEY (name, seq));

-- How attempts ended that were followed by another.
CREATE TABLE attempt (
    seq           bigint NOT NULL,
    attempt       bigint NOT NULL,
    outcome       text   NOT NULL,
    message       bytea,
    started_at    bigint,
    finished_at   bigint NOT NULL,
    plugin_digest text,
    PRIMARY KEY (seq, attempt)
);

-- What a task that waits for others was asked for.
CREATE TABLE dependent (seq bigint PRIMARY KEY, runs_on_failure bool NOT NULL, pass_results bool NOT NULL, run_at bigint);

CREATE TABLE dependency (
    seq      bigint NOT NULL,
    position bigint NOT NULL,
    id       uuid   NOT NULL,
    -- The row of that task while its outcome or its result is needed.
    on_seq   bigint,
    outcome  text,
    PRIMARY KEY (seq, position)
);
CREATE INDEX dependency_on ON dependency (on_seq, outcome) WHERE on_seq IS NOT NULL;

-- Finished tasks with unresolved dependents.
CREATE TABLE dependency_end (seq bigint PRIMARY KEY, state text NOT NULL, at bigint NOT NULL);

CREATE TABLE webhook (
    seq             bigint PRIMARY KEY,
    url             text   NOT NULL,
    origin          text   COLLATE "C" NOT NULL,
    state           text   NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'pending', 'delivered', 'given-up')),
    pending_since   bigint,
    next_attempt_at bigint,
    attempts        bigint NOT NULL DEFAULT 0,
    round           bigint NOT NULL DEFAULT 0,
    attempts_before bigint NOT NULL DEFAULT 0
);
CREATE INDEX webhook_pending ON webhook (origin, next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_oldest ON webhook (pending_since) WHERE state = 'pending';

CREATE TABLE webhook_attempt (
    seq     bigint NOT NULL,
    number  bigint NOT NULL,
    at      bigint NOT NULL,
    took_ms bigint NOT NULL,
    status  bigint,
    error   text,
    PRIMARY KEY (seq, number)
);

-- Answers to requests with an idempotency key, the oldest first.
CREATE TABLE idempotency (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text   COLLATE "C" NOT NULL UNIQUE,
    digest     bytea  NOT NULL,
    created_at bigint NOT NULL,
    answer     bytea  NOT NULL
);

CREATE TABLE schedule (
    name            text   COLLATE "C" PRIMARY KEY,
    from_manifest   bool   NOT NULL,
    cron            text   NOT NULL,
    timezone        text   NOT NULL,
    missed          text   NOT NULL,
    overlap         bool   NOT NULL,
    task            text   NOT NULL,
    plugin          text   NOT NULL,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    revision        bigint NOT NULL DEFAULT 1,
    paused          bool   NOT NULL DEFAULT false,
    next_at         bigint,
    evaluated_until bigint,
    last_due        bigint,
    last_at         bigint,
    last_task       uuid,
    runs            bigint NOT NULL DEFAULT 0,
    skipped         bigint NOT NULL DEFAULT 0,
    last_error      text
);
CREATE INDEX schedule_next ON schedule (next_at) WHERE NOT paused;

-- What is not started until it is resumed: a plugin, or everything if the name is empty.
CREATE TABLE pause (plugin text PRIMARY KEY);

CREATE TABLE recent_start (plugin text NOT NULL, at bigint NOT NULL, tasks bigint NOT NULL, PRIMARY KEY (plugin, at));

CREATE TABLE finished_count (
    plugin  text   NOT NULL,
    state   text   NOT NULL,
    tasks   bigint NOT NULL,
    removed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (plugin, state)
);

-- One row of what the host remembers, and by which its transactions are fenced.
CREATE TABLE host (
    id              bigint PRIMARY KEY CHECK (id = 0),
    -- Grows with each start: a host that has another one's number must not write.
    incarnation     bigint NOT NULL,
    -- The number of its latest transaction.
    batch           bigint NOT NULL,
    events_reserved bigint NOT NULL,
    latest          bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO host (id, incarnation, batch, events_reserved, latest) VALUES (0, 0, 0, 1, 0);
