-- What the newest ended attempt used, as a JSON array in the order of usage.rs, zeros at its end left out.
ALTER TABLE task ADD COLUMN usage TEXT;

-- How many tasks of each plugin ever ended, and how; what is forgotten stays counted. Written once for each
-- batch, not for each task.
CREATE TABLE ended (
    plugin TEXT    NOT NULL,
    state  INTEGER NOT NULL CHECK (state BETWEEN 2 AND 4),
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (plugin, state)
) STRICT, WITHOUT ROWID;

INSERT INTO ended SELECT plugin, state, count(*) FROM task WHERE state >= 2 GROUP BY plugin, state;
