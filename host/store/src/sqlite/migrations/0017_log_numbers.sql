-- How many numbers were given to lines of its log: they count on from run to run. A run of an earlier version had
-- a range of numbers of its own, of which there were too many to be exact in JSON; what is stored of those is read
-- with small numbers, and the next run counts on behind the ranges, or where that is too far, behind the first
-- thousand of them.
ALTER TABLE task ADD COLUMN log_lines_given INTEGER NOT NULL DEFAULT 0;
UPDATE task SET log_lines_given = min(claims, 1000) * 1000000000000 WHERE state < 2 AND claims > 0;
