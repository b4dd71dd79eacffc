-- How long it was to wait when ready_at was set: if the clock goes back it waits that long again, and no longer.
-- NULL for a task that was ready at once, and for one that is to start at a moment of the calendar.
ALTER TABLE task ADD COLUMN wait_ns INTEGER;
-- Of earlier waits between attempts only the longest is known that was asked for; of parked tasks nothing is.
UPDATE task SET wait_ns = coalesce(backoff_most_ms, 300000) * 1000000
WHERE state = 0 AND attempt > 0 AND parks IS NULL AND ready_at <> created_at;
