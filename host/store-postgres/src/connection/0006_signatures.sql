-- The signatures of the files of a plugin, which each host verifies with its own keys.
ALTER TABLE plugin ADD COLUMN signature bytea, ADD COLUMN manifest_signature bytea, ADD COLUMN schema_signature bytea;
