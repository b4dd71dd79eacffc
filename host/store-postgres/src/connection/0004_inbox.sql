-- Tasks that clients of the database submit within their own transactions. A host turns rows into tasks and removes them.

-- An id as hosts make them: a UUID of version 7, in the order of time.
CREATE FUNCTION new_task_id() RETURNS uuid LANGUAGE sql VOLATILE
RETURN encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1),
    53, 1), 'hex')::uuid;

CREATE TABLE inbox (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The id of the task.
    id      uuid   NOT NULL UNIQUE DEFAULT new_task_id(),
    plugin  text   COLLATE "C" NOT NULL CHECK (plugin ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    input   jsonb  CHECK (octet_length(input::text) <= 16777216),
    -- The other fields of a task request.
    options jsonb  NOT NULL DEFAULT '{}'
        CHECK (jsonb_typeof(options) = 'object' AND octet_length(options::text) <= 1048576),
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    input_bytes bigint NOT NULL GENERATED ALWAYS AS (coalesce(octet_length(input::text), 0)) STORED
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- What a role needs that may submit and nothing else. It runs as the owner of the table; its names are resolved now.
CREATE FUNCTION submit(plugin text, input jsonb DEFAULT NULL, options jsonb DEFAULT '{}') RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER
BEGIN ATOMIC
    INSERT INTO inbox (plugin, input, options) VALUES (submit.plugin, submit.input, coalesce(submit.options, '{}'))
    RETURNING id;
END;
REVOKE EXECUTE ON FUNCTION submit(text, jsonb, jsonb) FROM PUBLIC;
