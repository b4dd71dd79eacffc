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
