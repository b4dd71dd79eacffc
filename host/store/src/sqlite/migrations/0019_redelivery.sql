-- How often the delivery was asked for once more, and how many tries had been made by the last time: it is tried as
-- often again as at first.
ALTER TABLE webhook ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook ADD COLUMN tries_before INTEGER NOT NULL DEFAULT 0;
