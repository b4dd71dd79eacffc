-- How many of the tasks that it waits for have not ended; NULL for a task that was never to wait for any.
ALTER TABLE task ADD COLUMN waits_for INTEGER;

-- What a task that waits for others was asked for.
CREATE TABLE dependant (
    seq        INTEGER PRIMARY KEY,
    -- What becomes of it when one of them goes wrong: 0 if it is cancelled, 1 if it runs all the same.
    on_failure INTEGER NOT NULL CHECK (on_failure BETWEEN 0 AND 1),
    -- Whether it is handed their results.
    hand_over  INTEGER NOT NULL CHECK (hand_over BETWEEN 0 AND 1),
    -- When it may start at the earliest; NULL for at once.
    run_at     INTEGER
) STRICT;

CREATE TABLE dependency (
    -- The task that waits, and the place among all that it waits for.
    seq     INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    -- The task that it waits for, which may be gone.
    id      BLOB    NOT NULL,
    -- The number of that task while its end or its result is wanted.
    on_seq  INTEGER,
    -- How that task ended, by its state; NULL before.
    outcome INTEGER,
    PRIMARY KEY (seq, place)
) STRICT, WITHOUT ROWID;

-- Who waits for a task: first those that were not told how it ended. What is over stands in it no more.
CREATE INDEX dependency_on ON dependency (on_seq, outcome) WHERE on_seq IS NOT NULL;

-- Tasks that have ended, of which not all who waited were told.
CREATE TABLE dependency_end (
    seq   INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    at    INTEGER NOT NULL
) STRICT;

-- Not by a foreign key: that would look for them whenever a task goes that has none.
CREATE TRIGGER task_undepend AFTER DELETE ON task WHEN OLD.waits_for IS NOT NULL BEGIN
    DELETE FROM dependency WHERE seq = OLD.seq;
    DELETE FROM dependant WHERE seq = OLD.seq;
END;

-- Tasks that are held back have a place in no line, see rows.rs.
DROP INDEX task_ranked;
CREATE INDEX task_ranked ON task (plugin, ready_at)
    WHERE state = 0 AND rank IS NOT NULL AND rank <> 9223372036854775805;
