-- By what tasks are looked for: each holds the rowid as well, which is the order of a list. Tasks without a schedule, a
-- group or a key, which most are, pay nothing for it.
CREATE INDEX task_of_schedule ON task (schedule) WHERE schedule IS NOT NULL;
CREATE INDEX task_of_group ON task (grp) WHERE grp IS NOT NULL;
CREATE INDEX task_of_key ON task (unique_key) WHERE unique_key IS NOT NULL;
