-- Secrets that all hosts share, such as the one that signs the sessions of browsers.
CREATE TABLE secret (name text PRIMARY KEY, body bytea NOT NULL);
