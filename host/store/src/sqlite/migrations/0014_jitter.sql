-- By how much of itself a wait between attempts is lengthened at most; NULL for the default.
ALTER TABLE task ADD COLUMN backoff_jitter REAL;
