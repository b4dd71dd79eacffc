-- Whose task it is; NULL for the plugin's own. A task with a group always has a rank, so that it stands apart from
-- those without one: the largest number until it is ready, and the one below it from then on.
ALTER TABLE task ADD COLUMN grp TEXT;
-- The line of each group, in the order of priority and age: a step of priority is a minute of 6e10 ns. Tasks
-- without a group, which most are, pay nothing for it.
CREATE INDEX task_grouped ON task (plugin, grp, ready_at - priority * 60000000000)
WHERE state = 0 AND rank = 9223372036854775806;

-- How many of those that ended were forgotten since: the others are stored.
ALTER TABLE ended ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
UPDATE ended SET forgotten = tasks;
UPDATE ended SET forgotten = tasks - stored.tasks_stored
FROM (
    SELECT plugin AS of_plugin, state AS in_state, count(*) AS tasks_stored
    FROM task WHERE state >= 2 GROUP BY plugin, state) AS stored
WHERE plugin = of_plugin AND state = in_state;
