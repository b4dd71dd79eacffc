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
    -- What resumes it before ready_at while it is suspended, a bit for each; see host/store/src/stored/wake_on.rs.
    wake_on         bigint NOT NULL DEFAULT 0,
    -- How many events were ever posted to it: each has the next number.
    events_posted   bigint NOT NULL DEFAULT 0,
    -- The number of its newest claim, which fences late writes. It never goes down.
    claim_token     bigint NOT NULL DEFAULT 0,
    -- The host of its newest claim.
    host            bigint,
    stop_requested_at bigint,
    -- When its host kills the guest of a task that is to stop.
    kill_at         bigint,
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
    -- Among which tasks its unique key is unique: those of one reach of keys; empty for keys without one.
    key_space       text   COLLATE "C" NOT NULL DEFAULT '',
    tags            text[] COLLATE "C",
    schedule        text   COLLATE "C",
    submitted_by    text   COLLATE "C",
    retry_of        uuid,
    pending_dependencies bigint,
    -- The outcomes that trigger its webhook, a bit for each; NULL without a webhook.
    webhook_on      bigint,
    trace           text,
    input_bytes     bigint,
    -- The bytes of the files that came with it, and of those that it left; NULL without any.
    files_in        bigint,
    files_out       bigint,
    -- The id of the task that submitted it as its child, which may be gone; its name among the children of that one, and
    -- how many tasks are above it.
    parent          uuid,
    child_name      text   COLLATE "C",
    depth           bigint NOT NULL DEFAULT 0,
    -- How many children it has submitted, how many of them have ended, and how many had when its run began.
    children        bigint NOT NULL DEFAULT 0,
    children_ended  bigint NOT NULL DEFAULT 0,
    children_seen   bigint NOT NULL DEFAULT 0,
    log_lines       bigint NOT NULL DEFAULT 0,
    plugin_digest   text,
    usage           text,
    cause           text,
    -- What the result is: a media type, with ;base64 behind it if it is kept so; NULL for text of a plugin that declares
    -- nothing.
    result_type     text,
    -- The name of the key whose limits count the task.
    limit_key       text   COLLATE "C",
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
-- What its host is to stop.
CREATE INDEX task_stopping ON task (host) WHERE state = 'running' AND stop_requested_at IS NOT NULL;
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE INDEX task_cancelled ON task (seq) WHERE state = 'cancelled';
CREATE INDEX task_finished ON task (finished_at, seq) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX task_unfinished_key ON task (unique_key, key_space)
    WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_unfinished_of_schedule ON task (schedule) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_of_key ON task (unique_key, seq) WHERE unique_key IS NOT NULL;
CREATE INDEX task_of_schedule ON task (schedule, seq) WHERE schedule IS NOT NULL;
CREATE INDEX task_of_group ON task (task_group, seq) WHERE task_group <> '';
-- Those that are no children, which most are, pay nothing for these.
CREATE INDEX task_of_parent ON task (parent, seq) WHERE parent IS NOT NULL;
CREATE INDEX task_unfinished_child ON task (parent, seq) WHERE parent IS NOT NULL AND finished_at IS NULL;
CREATE INDEX task_of_limit_key ON task (limit_key) WHERE limit_key IS NOT NULL;

CREATE TABLE input (seq bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE log (seq bigint PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE checkpoint (seq bigint PRIMARY KEY, body bytea NOT NULL);

-- Events posted to unfinished tasks that no run has taken for good, by their numbers.
CREATE TABLE posted_event (
    seq     bigint NOT NULL,
    number  bigint NOT NULL,
    -- NULL without a name.
    name    text,
    payload bytea  NOT NULL,
    PRIMARY KEY (seq, number)
);

-- The files of tasks.
CREATE TABLE task_file (
    seq        bigint NOT NULL,
    -- Whether its run left it; else it came with the task.
    is_output  bool   NOT NULL,
    name       text   COLLATE "C" NOT NULL,
    media_type text   NOT NULL,
    content    uuid   NOT NULL,
    bytes      bigint NOT NULL,
    sha256     bytea  NOT NULL,
    PRIMARY KEY (seq, is_output, name)
);
CREATE INDEX task_file_content ON task_file (content);

-- Their bytes, a MiB in each row, written without the turn. Most do not compress.
CREATE TABLE content_part (content uuid NOT NULL, part bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (content, part));
ALTER TABLE content_part ALTER body SET STORAGE EXTERNAL;

-- Contents that no task refers to, or that a task has ceased to refer to while others may: since when. 0 for those that
-- may go at once; -1 for those that go, to which nothing may refer again.
CREATE TABLE unused_content (
    content uuid   PRIMARY KEY,
    at      bigint NOT NULL,
    -- The host that writes it.
    host    bigint
);
CREATE INDEX unused_content_at ON unused_content (at);

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
CREATE TABLE dependent (
    seq             bigint PRIMARY KEY,
    runs_on_failure bool   NOT NULL,
    pass_results    bool   NOT NULL,
    run_at          bigint,
    -- How it gets the files that they leave; NULL for not at all.
    files_from      text
);

CREATE TABLE dependency (
    seq      bigint NOT NULL,
    position bigint NOT NULL,
    id       uuid   NOT NULL,
    -- The row of that task while its outcome, its result or its files are needed.
    on_seq   bigint,
    outcome  text,
    -- The name of a child, which its parent has submitted; NULL for a dependency of the request.
    name     text   COLLATE "C",
    PRIMARY KEY (seq, position)
);
-- A name is given once.
CREATE UNIQUE INDEX dependency_child ON dependency (seq, name) WHERE name IS NOT NULL;
CREATE INDEX dependency_on ON dependency (on_seq, outcome) WHERE on_seq IS NOT NULL;

-- All dependents of a task.
CREATE INDEX dependency_of ON dependency (id, seq);

-- Finished tasks with unresolved dependents, or with children that are to be cancelled: those have their id.
CREATE TABLE dependency_end (seq bigint PRIMARY KEY, state text NOT NULL, at bigint NOT NULL, parent uuid);

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

-- How many tasks of a plugin are in each state; of a final one, how many ever were, and were removed since.
CREATE TABLE task_count (
    plugin  text   NOT NULL,
    state   text   NOT NULL,
    tasks   bigint NOT NULL,
    removed bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (plugin, state)
) WITH (fillfactor = 50);

-- One row, the turn to write: a transaction locks it first and until its commit, so those of all hosts are serial.
CREATE TABLE cluster (
    id              bigint PRIMARY KEY CHECK (id = 0),
    -- The number of the latest transaction of any host.
    writes          bigint NOT NULL,
    -- How many hosts are live.
    hosts           bigint NOT NULL,
    events_reserved bigint NOT NULL,
    -- Events before this number are no longer in their table.
    events_pruned   bigint NOT NULL,
    latest          bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO cluster (id, writes, hosts, events_reserved, events_pruned, latest) VALUES (0, 0, 0, 1, 1, 0);

-- Each registration of a host, until its tasks are put back. A host renews its lease here, and nothing else.
CREATE TABLE host (
    -- Random, so that no loss of commits gives out one twice.
    id              bigint PRIMARY KEY,
    -- The data folder that it has locked: another host there proves that this one is dead.
    place           text   COLLATE "C" NOT NULL,
    name            text   NOT NULL,
    version         text   NOT NULL,
    -- The name of its write connections.
    connection      text   NOT NULL,
    started_at      bigint NOT NULL,
    is_live         bool   NOT NULL DEFAULT true,
    -- Grows with each renewal.
    beat            bigint NOT NULL DEFAULT 0,
    renewed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    slots           bigint NOT NULL DEFAULT 0,
    used            bigint NOT NULL DEFAULT 0,
    memory_free     bigint NOT NULL DEFAULT 0,
    is_draining     bool   NOT NULL DEFAULT false,
    -- What the others should share, each as name=value.
    settings        text[] NOT NULL DEFAULT '{}',
    -- Up to which version it runs what was published.
    plugins_version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- By which the transactions of a host are fenced.
CREATE TABLE writer (
    host    bigint PRIMARY KEY,
    is_live bool   NOT NULL DEFAULT true,
    -- Grows with each connection: what an earlier one still sends fails.
    epoch   bigint NOT NULL DEFAULT 0,
    -- The number of its latest transaction.
    batch   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Events while there are several hosts, in the order of commits.
CREATE TABLE event (
    seq     bigint PRIMARY KEY,
    task    uuid   NOT NULL,
    plugin  text   NOT NULL,
    attempt bigint NOT NULL,
    at      bigint NOT NULL,
    kind    text   NOT NULL,
    -- Of progress.
    fraction double precision,
    -- The note of progress, or the cause of a failure.
    detail  text,
    -- When a task that waits again becomes available.
    ready_at bigint
);

-- What hosts see of runs at other hosts. Unlogged: a crash of the server empties these tables, and a second later they
-- are filled again. They are written without the turn, and nothing depends on them.

-- What a run has reported and used, by the host that runs it. Only while there are several hosts.
CREATE UNLOGGED TABLE live_run (
    task     uuid   PRIMARY KEY,
    host     bigint NOT NULL,
    -- The claim: a row of an earlier one tells nothing.
    token    bigint NOT NULL,
    fraction double precision,
    note     text,
    plugin_digest text,
    usage    text
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX live_run_host ON live_run (host);

-- The log of a run that somebody reads at another host: those who read insert a row, and the host that runs it fills it.
CREATE UNLOGGED TABLE live_log (
    task    uuid   PRIMARY KEY,
    host    bigint NOT NULL,
    token   bigint NOT NULL,
    -- Until when somebody reads it.
    until   timestamptz NOT NULL,
    -- Grows with the log; NULL until its host has seen the row.
    version bigint,
    body    bytea
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX live_log_host ON live_log (host);

-- Tasks that clients of the database submit within their own transactions. A host turns rows into tasks and removes them.

-- An id as hosts make them: a UUID of version 7, in the order of time.
CREATE FUNCTION new_task_id() RETURNS uuid LANGUAGE sql VOLATILE
RETURN encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1),
    53, 1), 'hex')::uuid;

CREATE TABLE inbox (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The id of the task.
    id      uuid   NOT NULL UNIQUE DEFAULT new_task_id(),
    plugin  text   COLLATE "C" NOT NULL CHECK (plugin ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    input   jsonb  CHECK (octet_length(input::text) <= 16777216),
    -- The other fields of a task request.
    options jsonb  NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(options) = 'object' AND octet_length(options::text) <= 1048576),
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    input_bytes bigint NOT NULL GENERATED ALWAYS AS (coalesce(octet_length(input::text), 0)) STORED
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What a role needs that may submit and nothing else. It runs as the owner of the table; its names are resolved now.
CREATE FUNCTION submit(plugin text, input jsonb DEFAULT NULL, options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER
BEGIN ATOMIC
    INSERT INTO inbox (plugin, input, options) VALUES (submit.plugin, submit.input, coalesce(submit.options, '{}'))
    RETURNING id;
END;
REVOKE EXECUTE ON FUNCTION submit(text, jsonb, jsonb) FROM PUBLIC;

-- The plugins that all hosts run: what was published last under each name.
CREATE TABLE plugin (
    name        text   COLLATE "C" PRIMARY KEY,
    -- Grows with each publication of any plugin.
    version     bigint NOT NULL,
    -- SHA-256 of all files, and of the plugin alone.
    bundle      text   NOT NULL,
    digest      text   NOT NULL,
    size_bytes  bigint NOT NULL,
    manifest    bytea,
    schema_name text,
    schema      bytea,
    -- The signatures of these files, which each host verifies with its own keys.
    signature   bytea,
    manifest_signature bytea,
    schema_signature   bytea,
    is_removed  bool   NOT NULL DEFAULT false,
    -- The name of the host that published it, and when.
    host        text   NOT NULL,
    at          bigint NOT NULL
);

-- The bytes of plugins, a MiB in each row.
CREATE TABLE plugin_part (digest text NOT NULL, part bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (digest, part));

-- Secrets that all hosts share, such as the one that signs the sessions of browsers.
CREATE TABLE secret (name text PRIMARY KEY, body bytea NOT NULL);

-- What the tasks of each key with limits take up.
CREATE TABLE key_usage (
    key          text   COLLATE "C" PRIMARY KEY,
    waiting      bigint NOT NULL,
    stored_bytes bigint NOT NULL
) WITH (fillfactor = 50);
