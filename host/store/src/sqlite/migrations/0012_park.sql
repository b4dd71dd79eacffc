-- How often the attempt under way was parked; NULL until it is for the first time, which for most tasks is never.
-- While it is not NULL, a claim goes on with the attempt instead of starting the next one.
ALTER TABLE task ADD COLUMN parks INTEGER;
