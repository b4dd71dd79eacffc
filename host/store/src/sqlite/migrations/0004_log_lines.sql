-- The logs of all runs of a task, the newest last; src/log/body.rs says how. They take the place of `log`, whose
-- text is kept behind the letter T.
CREATE TABLE log_lines (
    seq  INTEGER PRIMARY KEY REFERENCES task ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;
INSERT INTO log_lines (seq, body) SELECT seq, CAST('T' || body AS BLOB) FROM log;
DROP TABLE log;

-- One row of what the host has to remember from one start to the next.
CREATE TABLE host (
    id              INTEGER PRIMARY KEY CHECK (id = 0),
    -- Numbers of events below this may have been given out.
    events_reserved INTEGER NOT NULL
) STRICT;
INSERT INTO host (id, events_reserved) VALUES (0, 1);
