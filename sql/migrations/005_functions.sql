-- What the connector and its operator call: emit a patient again, dead-letter an event, remember an event, clean up,
-- publish.

-- Writes an event with the patient's current state, as if it had just changed, and returns the outbox id: for backfill,
-- replay and repair. A patient that is gone gives a delete with the payload {}.
CREATE OR REPLACE FUNCTION public.fhir_emit_patient(id integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
  PERFORM public.fhir_write_events('patient', ARRAY[ROW(id, 'U', id, NULL, NULL)::public.fhir_change]);
  RETURN currval('public.fhir_outbox_id_seq');
END
$$;

-- The earlier function would make a call with two arguments ambiguous; its cleanup returned nothing.
DROP FUNCTION IF EXISTS public.fhir_move_outbox_to_dlq(bigint, text);
DROP FUNCTION IF EXISTS public.fhir_cleanup_old(integer);

-- Copies an outbox row into fhir_dlq and marks it processed; returns the id of the dead letter, NULL when there is no
-- such outbox row. A row that already has an unresolved dead letter keeps it. error_text and last_error are read by
-- people: no patient data.
CREATE OR REPLACE FUNCTION public.fhir_move_outbox_to_dlq(
  outbox_id bigint,
  error_text text,
  http_status integer DEFAULT NULL,
  operation_outcome jsonb DEFAULT NULL,
  attempts integer DEFAULT NULL,
  resource_type text DEFAULT NULL,
  source_id bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
#variable_conflict use_column
DECLARE
  event public.fhir_outbox;
  dead_letter_id bigint;
BEGIN
  -- The lock lets one of two callers wait for the other instead of making a second dead letter.
  SELECT * INTO event FROM public.fhir_outbox WHERE id = fhir_move_outbox_to_dlq.outbox_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT id INTO dead_letter_id FROM public.fhir_dlq WHERE outbox_id = event.id AND resolved_at IS NULL;
  IF dead_letter_id IS NULL THEN
    INSERT INTO public.fhir_dlq (
      outbox_id, txid, table_name, record_id, operation, payload_json, error_text, attempts,
      first_failed_at, last_failed_at,
      resource_type, source_id, patient_id, patient_revision, http_status, operation_outcome
    ) VALUES (
      event.id, event.txid, event.table_name, event.record_id, event.operation, event.payload_json,
      fhir_move_outbox_to_dlq.error_text, coalesce(fhir_move_outbox_to_dlq.attempts, event.attempts), clock_timestamp(), clock_timestamp(),
      coalesce(fhir_move_outbox_to_dlq.resource_type,
               CASE WHEN event.table_name IN ('patient', 'patient_other_identifiers') THEN 'Patient' END),
      coalesce(fhir_move_outbox_to_dlq.source_id, event.patient_id),
      event.patient_id, event.patient_revision, fhir_move_outbox_to_dlq.http_status,
      fhir_move_outbox_to_dlq.operation_outcome
    ) RETURNING id INTO dead_letter_id;
  END IF;
  UPDATE public.fhir_outbox
  SET processed = true,
      processed_at = coalesce(processed_at, clock_timestamp()),
      next_retry_at = NULL,
      attempts = coalesce(fhir_move_outbox_to_dlq.attempts, event.attempts),
      last_error = fhir_move_outbox_to_dlq.error_text
  WHERE id = event.id;
  RETURN dead_letter_id;
END
$$;

-- Remembers that an event is delivered; a second time changes nothing.
CREATE OR REPLACE FUNCTION public.fhir_mark_event_processed(event_key text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
BEGIN ATOMIC
  INSERT INTO public.fhir_processed_event (event_key) VALUES (fhir_mark_event_processed.event_key)
  ON CONFLICT DO NOTHING;
END;

-- Removes what is finished: outbox rows processed more than so many days ago; processed events and resolved dead
-- letters after three times that. What is unprocessed or unresolved stays, however old. Returns how many rows of each
-- were removed.
CREATE OR REPLACE FUNCTION public.fhir_cleanup_old(
  days integer, OUT outbox_rows bigint, OUT dlq_rows bigint, OUT processed_events bigint
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
  IF days IS NULL OR days < 1 THEN
    RAISE EXCEPTION 'fhir_cleanup_old needs at least 1 day' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  DELETE FROM public.fhir_outbox WHERE processed AND processed_at < now() - make_interval(days => days);
  GET DIAGNOSTICS outbox_rows = ROW_COUNT;
  DELETE FROM public.fhir_dlq WHERE resolved_at < now() - 3 * make_interval(days => days);
  GET DIAGNOSTICS dlq_rows = ROW_COUNT;
  DELETE FROM public.fhir_processed_event WHERE processed_at < now() - 3 * make_interval(days => days);
  GET DIAGNOSTICS processed_events = ROW_COUNT;
END
$$;

-- Makes the publication that the connector's slot reads, unless it is there; returns whether it was made. Never drop
-- one under a slot: a publication younger than the WAL that the slot still has to read stops decoding for good.
CREATE OR REPLACE FUNCTION public.fhir_ensure_publication(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM pg_publication WHERE pubname = name) THEN
    RETURN false;
  END IF;
  -- Inserts only: the connector's own updates and the cleanup's deletes need not travel.
  EXECUTE format('CREATE PUBLICATION %I FOR TABLE public.fhir_outbox WITH (publish = %L)', name, 'insert');
  RETURN true;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    RETURN false;
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_emit_patient(integer), public.fhir_mark_event_processed(text),
  public.fhir_cleanup_old(integer), public.fhir_ensure_publication(text),
  public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint) FROM PUBLIC;
