-- The settings of a host that the others should share, each as name=value.
ALTER TABLE host ADD COLUMN settings text[] NOT NULL DEFAULT '{}';
