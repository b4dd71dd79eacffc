-- When tasks were started of plugins that have a rate, and how many, for as long as that counts.
CREATE TABLE start (
    plugin TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    tasks  INTEGER NOT NULL,
    PRIMARY KEY (plugin, at)
) STRICT, WITHOUT ROWID;
