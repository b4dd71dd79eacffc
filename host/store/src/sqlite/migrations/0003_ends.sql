-- What has ended, in that order: retention takes from its front. It only grows at its back, which is cheap.
CREATE INDEX task_finished ON task (finished_at) WHERE finished_at IS NOT NULL;
-- States that are rare, so that a list of them need not walk all the others. Tasks that complete, which
-- most do, pay nothing for them. Both hold the rowid, which is the order of the list.
CREATE INDEX task_failed ON task (state) WHERE state = 3;
CREATE INDEX task_cancelled ON task (state) WHERE state = 4;
