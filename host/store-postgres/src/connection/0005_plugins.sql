-- The plugins that all hosts run: what was published last under each name.
CREATE TABLE plugin (
    name        text   COLLATE "C" PRIMARY KEY,
    -- Grows with each publication of any plugin.
    version     bigint NOT NULL,
    -- SHA-256 of all files, and of the plugin alone.
    bundle      text   NOT NULL,
    digest      text   NOT NULL,
    size_bytes  bigint NOT NULL,
    manifest    bytea,
    schema_name text,
    schema      bytea,
    is_removed  bool   NOT NULL DEFAULT false,
    -- The name of the host that published it, and when.
    host        text   NOT NULL,
    at          bigint NOT NULL
);

-- The bytes of plugins, a MiB in each row.
CREATE TABLE plugin_part (digest text NOT NULL, part bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (digest, part));

-- Up to which version a host runs what was published.
ALTER TABLE host ADD COLUMN plugins_version bigint NOT NULL DEFAULT 0;
