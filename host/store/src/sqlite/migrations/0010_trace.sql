-- Where in which trace the task was asked for: a traceparent, and behind a space the tracestate if there is
-- one. NULL without a trace.
ALTER TABLE task ADD COLUMN trace TEXT;
