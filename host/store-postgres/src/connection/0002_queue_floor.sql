-- How far a queue has been claimed: no available task of it comes before. Only while somebody holds a snapshot; claims begin
-- there, since what claimed tasks leave in the index cannot be cleaned up. Whatever makes a task available lowers it.
CREATE TABLE queue_floor (
    plugin     text   COLLATE "C" NOT NULL,
    task_group text   COLLATE "C" NOT NULL,
    sort_key   bigint NOT NULL,
    seq        bigint NOT NULL,
    PRIMARY KEY (plugin, task_group)
) WITH (fillfactor = 50);
