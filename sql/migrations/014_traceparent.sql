-- An application that traces its transactions by OpenTelemetry may hand its span in, and the delivery becomes a part of that trace:
--   SET LOCAL app.traceparent = '00-<trace id>-<span id>-01'; or, with a parameter, SELECT set_config('app.traceparent', $1, true);
-- https://www.w3.org/TR/trace-context/#traceparent-header

-- Whatever else is in the setting is taken for nothing: a change of a patient never fails by it, and no other text gets in.
ALTER TABLE public.fhir_outbox ADD COLUMN IF NOT EXISTS traceparent text;
ALTER TABLE public.fhir_outbox ALTER COLUMN traceparent
  SET DEFAULT substring(current_setting('app.traceparent', true) FROM '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$');
