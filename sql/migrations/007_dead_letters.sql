-- Dead letters that an operator replays or discards, clean-up in steps, and the rights of the roles as one list.

-- Who decided, and which event a replay became. A dead letter is resolved once: its row is the record of that decision.
ALTER TABLE public.fhir_dlq
  ADD COLUMN IF NOT EXISTS resolved_by text,
  ADD COLUMN IF NOT EXISTS replay_outbox_id bigint;

-- Dead letters of the earlier connector name the patient by its row only.
UPDATE public.fhir_dlq SET patient_id = record_id WHERE patient_id IS NULL AND table_name = 'patient';

-- As before, and: where the FHIR resource carries other identifiers than the patient (their change became a dead letter, or
-- there is no resource yet), the event says which. So of several patients that are emitted in one transaction, who gives an
-- identifier up goes before who takes it, and the link learns what the resource carries then.
CREATE OR REPLACE FUNCTION public.fhir_emit_patient(id integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  had jsonb;
BEGIN
  WITH sent AS (
    SELECT i.system, i.value FROM public.fhir_link_identifier AS i
    WHERE i.resource_type = 'Patient' AND i.source_id = fhir_emit_patient.id
  ), has AS (
    SELECT btrim(coalesce(known.system, '')) AS system, btrim(known.value) AS value
    FROM (SELECT p.identifier_system, p.identifier_value FROM public.patient AS p WHERE p.id = fhir_emit_patient.id
          UNION ALL
          SELECT o.identifier_system, o.identifier_value FROM public.patient_other_identifiers AS o
          WHERE o.patient_id = fhir_emit_patient.id) AS known (system, value)
    WHERE btrim(known.value) <> ''
  )
  -- None of them is called primary: the resource is known by its id.
  SELECT CASE WHEN EXISTS (TABLE sent EXCEPT TABLE has) OR EXISTS (TABLE has EXCEPT TABLE sent)
    THEN (SELECT coalesce(jsonb_agg(jsonb_build_object('system', s.system, 'value', s.value, 'primary', false)
                                    ORDER BY s.system, s.value), '[]') FROM sent AS s) END
  INTO had;
  PERFORM public.fhir_write_events('patient', ARRAY[ROW(id, 'U', id, NULL, had)::public.fhir_change]);
  RETURN currval('public.fhir_outbox_id_seq');
END
$$;

-- Sends the current state of the patients of these dead letters, one event a patient, and marks the dead letters
-- replayed. Says of each id what became of it: replayed, resolved (before), no patient, not found. Other dead letters of
-- these patients stay as they are: they are superseded once the event is delivered.
CREATE OR REPLACE FUNCTION public.fhir_replay_dead_letters(ids bigint[], reason text)
RETURNS TABLE (dead_letter_id bigint, result text, patient_id integer, outbox_id bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
#variable_conflict use_column
DECLARE
  patient integer;
  event bigint;
  replayed bigint[] := '{}';
  marked bigint[];
BEGIN
  -- First all patients, in the order in which triggers take them: a second replay of the same dead letters waits here and
  -- then finds them resolved. What waits here for an application's transaction holds no dead letter locked, which the
  -- connector would have to wait for.
  PERFORM FROM public.fhir_patient_revision AS r
  WHERE r.patient_id IN (SELECT q.patient_id FROM public.fhir_dlq AS q WHERE q.id = ANY (ids) AND q.resolved_at IS NULL)
  ORDER BY r.patient_id FOR UPDATE;
  FOR patient IN
    SELECT DISTINCT q.patient_id FROM public.fhir_dlq AS q
    WHERE q.id = ANY (ids) AND q.resolved_at IS NULL AND q.patient_id IS NOT NULL ORDER BY q.patient_id
  LOOP
    event := public.fhir_emit_patient(patient);
    WITH mark AS (
      UPDATE public.fhir_dlq AS q
      SET resolved_at = clock_timestamp(), resolution = 'replayed', resolution_reason = reason,
          resolved_by = session_user, replay_outbox_id = event
      WHERE q.id = ANY (ids) AND q.resolved_at IS NULL AND q.patient_id = patient
      RETURNING q.id
    )
    SELECT coalesce(array_agg(mark.id), '{}') INTO marked FROM mark;
    replayed := replayed || marked;
  END LOOP;
  RETURN QUERY
    SELECT asked.id,
           CASE WHEN q.id IS NULL THEN 'not found' WHEN q.id = ANY (replayed) THEN 'replayed'
                WHEN q.resolved_at IS NOT NULL THEN 'resolved' ELSE 'no patient' END,
           q.patient_id, CASE WHEN q.id = ANY (replayed) THEN q.replay_outbox_id END
    FROM unnest(ids) WITH ORDINALITY AS asked (id, position) LEFT JOIN public.fhir_dlq AS q ON q.id = asked.id
    ORDER BY asked.position;
END
$$;

-- Marks the dead letters discarded: nothing is sent for them. Says of each id what became of it: discarded, resolved
-- (before), not found.
CREATE OR REPLACE FUNCTION public.fhir_discard_dead_letters(ids bigint[], reason text)
RETURNS TABLE (dead_letter_id bigint, result text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
#variable_conflict use_column
DECLARE
  discarded bigint[];
BEGIN
  IF coalesce(btrim(reason), '') = '' THEN
    RAISE EXCEPTION 'fhir_discard_dead_letters needs a reason' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  WITH mark AS (
    UPDATE public.fhir_dlq AS q
    SET resolved_at = clock_timestamp(), resolution = 'discarded', resolution_reason = reason, resolved_by = session_user
    WHERE q.id = ANY (ids) AND q.resolved_at IS NULL
    RETURNING q.id
  )
  SELECT coalesce(array_agg(mark.id), '{}') INTO discarded FROM mark;
  RETURN QUERY
    SELECT asked.id,
           CASE WHEN q.id IS NULL THEN 'not found' WHEN q.id = ANY (discarded) THEN 'discarded' ELSE 'resolved' END
    FROM unnest(ids) WITH ORDINALITY AS asked (id, position) LEFT JOIN public.fhir_dlq AS q ON q.id = asked.id
    ORDER BY asked.position;
END
$$;

-- One step of the clean-up: looks at so many outbox rows and processed events, from the given ids on, and removes what
-- fhir_cleanup_old removes. next_outbox_id and next_event_id say where to go on; NULL: nothing old follows.
--
-- Ids rise with time, near enough: what is old comes first, so the first batch without an old row is the last one, and
-- neither an index on the times nor a look at the whole table is needed. A row that a long transaction numbered early
-- and that is old only now is found by the next clean-up.
CREATE OR REPLACE FUNCTION public.fhir_cleanup_step(
  days integer, batch integer, from_outbox_id bigint, from_event_id bigint,
  OUT outbox_rows bigint, OUT dlq_rows bigint, OUT processed_events bigint,
  OUT next_outbox_id bigint, OUT next_event_id bigint
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
-- By primary key, however many rows the statistics know of.
SET enable_seqscan = off
AS $$
DECLARE
  old timestamptz := now() - make_interval(days => days);
  very_old timestamptz := now() - 3 * make_interval(days => days);
  last_id bigint;
  looked_at bigint;
  any_old boolean;
  -- What began before this transaction id has been confirmed by every connector's slot: PostgreSQL moves catalog_xmin
  -- only when the slot has confirmed the WAL up to a moment at which all transactions before it had ended. What a slot
  -- may hand out again keeps its row, which says that it is processed. (Subtracted from a lower bound of the current
  -- transaction id, so that the result is never too high.)
  confirmed bigint := (
    SELECT min(pg_snapshot_xmin(pg_current_snapshot())::text::bigint - age(s.catalog_xmin))
    FROM pg_catalog.pg_replication_slots AS s JOIN public.fhir_slot AS known ON known.slot_name = s.slot_name
    WHERE s.database = current_database() AND s.catalog_xmin IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'
  );
  -- Of another cluster, from before the database was moved: no slot here knows it.
  foreign_txid bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
BEGIN
  IF days IS NULL OR days < 1 THEN
    RAISE EXCEPTION 'fhir_cleanup_old needs at least 1 day' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  outbox_rows := 0;
  dlq_rows := 0;
  processed_events := 0;

  IF from_outbox_id IS NOT NULL THEN
    SELECT max(id), count(*), bool_or(created_at < old) INTO last_id, looked_at, any_old
    FROM (SELECT id, created_at FROM public.fhir_outbox WHERE id >= from_outbox_id ORDER BY id LIMIT batch) AS part;
    DELETE FROM public.fhir_outbox
    WHERE id BETWEEN from_outbox_id AND last_id AND processed AND processed_at < old
      AND (confirmed IS NULL OR txid < confirmed OR txid >= foreign_txid);
    GET DIAGNOSTICS outbox_rows = ROW_COUNT;
    next_outbox_id := CASE WHEN any_old AND looked_at = batch THEN last_id + 1 END;
  END IF;

  IF from_event_id IS NOT NULL THEN
    SELECT max(id), count(*), bool_or(processed_at < very_old) INTO last_id, looked_at, any_old
    FROM (SELECT id, processed_at FROM public.fhir_processed_event WHERE id >= from_event_id ORDER BY id LIMIT batch) AS part;
    DELETE FROM public.fhir_processed_event WHERE id BETWEEN from_event_id AND last_id AND processed_at < very_old;
    GET DIAGNOSTICS processed_events = ROW_COUNT;
    next_event_id := CASE WHEN any_old AND looked_at = batch THEN last_id + 1 END;
  END IF;

  -- Dead letters are few. The first of any number of rows by this index is the oldest.
  DELETE FROM public.fhir_dlq
  WHERE id IN (SELECT id FROM public.fhir_dlq WHERE resolved_at < very_old ORDER BY resolved_at LIMIT batch);
  GET DIAGNOSTICS dlq_rows = ROW_COUNT;
END
$$;
CREATE INDEX IF NOT EXISTS fhir_dlq_resolved_idx ON public.fhir_dlq (resolved_at) WHERE resolved_at IS NOT NULL;

-- All steps in one transaction, for use by hand. Removes what is finished: outbox rows processed more than so many days
-- ago that no slot will hand out again; processed events and resolved dead letters after three times that. What is
-- unprocessed or unresolved stays, however old. Returns how many rows of each were removed.
CREATE OR REPLACE FUNCTION public.fhir_cleanup_old(
  days integer, OUT outbox_rows bigint, OUT dlq_rows bigint, OUT processed_events bigint
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  step record;
  from_outbox_id bigint := 0;
  from_event_id bigint := 0;
BEGIN
  outbox_rows := 0;
  dlq_rows := 0;
  processed_events := 0;
  LOOP
    SELECT * INTO step FROM public.fhir_cleanup_step(days, 10000, from_outbox_id, from_event_id);
    outbox_rows := outbox_rows + step.outbox_rows;
    dlq_rows := dlq_rows + step.dlq_rows;
    processed_events := processed_events + step.processed_events;
    from_outbox_id := step.next_outbox_id;
    from_event_id := step.next_event_id;
    EXIT WHEN from_outbox_id IS NULL AND from_event_id IS NULL AND step.dlq_rows = 0;
  END LOOP;
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_replay_dead_letters(bigint[], text), public.fhir_discard_dead_letters(bigint[], text),
  public.fhir_cleanup_step(integer, integer, bigint, bigint) FROM PUBLIC;

-- What each role may, as the words between GRANT and TO: one list, to which later files add. A file that adds to it
-- ends with SELECT public.fhir_grant_roles(), which whoever makes the roles later calls too.
CREATE TABLE IF NOT EXISTS public.fhir_role_right (
  role_name text NOT NULL,
  granted text NOT NULL,
  PRIMARY KEY (role_name, granted)
);
INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  -- Not TRUNCATE, which removes patients without a WHERE clause.
  ('fhir_app', 'SELECT, INSERT, UPDATE, DELETE ON public.patient, public.patient_other_identifiers, public.form, public.blood_pressure, public.pulse'),
  ('fhir_connector', 'SELECT ON public.patient, public.patient_other_identifiers, public.form, public.blood_pressure, public.pulse'),
  ('fhir_connector', 'SELECT ON public.fhir_patient_revision, public.fhir_schema_migration, public.vw_fhir_pending_txids'),
  ('fhir_connector', 'SELECT, UPDATE ON public.fhir_outbox'),
  ('fhir_connector', 'SELECT, INSERT, UPDATE ON public.fhir_dlq, public.fhir_link, public.fhir_slot'),
  ('fhir_connector', 'SELECT, INSERT ON public.fhir_processed_event'),
  ('fhir_connector', 'SELECT, INSERT, UPDATE, DELETE ON public.fhir_link_identifier'),
  ('fhir_connector', 'USAGE ON SEQUENCE public.fhir_dlq_id_seq, public.fhir_processed_event_id_seq'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_emit_patient(integer), public.fhir_mark_event_processed(text), public.fhir_ensure_publication(text)'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_cleanup_old(integer), public.fhir_cleanup_step(integer, integer, bigint, bigint)'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint)'),
  ('fhir_operator', 'SELECT ON public.fhir_outbox, public.fhir_dlq, public.fhir_processed_event, public.fhir_link, public.fhir_link_identifier, public.fhir_slot'),
  ('fhir_operator', 'SELECT ON public.fhir_patient_revision, public.fhir_schema_migration, public.vw_fhir_pending_txids'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_emit_patient(integer), public.fhir_cleanup_old(integer)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_replay_dead_letters(bigint[], text), public.fhir_discard_dead_letters(bigint[], text)')
ON CONFLICT DO NOTHING;

-- Gives each role that exists what it needs, and no more. Logins are made outside: CREATE ROLE … LOGIN IN ROLE
-- fhir_connector. The connector's login also needs REPLICATION, an attribute that membership does not pass on.
CREATE OR REPLACE FUNCTION public.fhir_grant_roles() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  entry record;
  table_name text;
  sequence_name text;
BEGIN
  FOR entry IN SELECT role_name, granted FROM public.fhir_role_right WHERE to_regrole(role_name) IS NOT NULL LOOP
    EXECUTE format('GRANT %s TO %I', entry.granted, entry.role_name);
  END LOOP;
  IF to_regrole('fhir_app') IS NOT NULL THEN
    -- Looked up: in an existing schema they may have other names, or be none (identity columns need no right).
    FOREACH table_name IN ARRAY ARRAY['patient', 'patient_other_identifiers', 'form', 'blood_pressure', 'pulse'] LOOP
      sequence_name := pg_get_serial_sequence(format('public.%I', table_name), 'id');
      IF sequence_name IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO fhir_app', sequence_name);
      END IF;
    END LOOP;
  END IF;
END
$$;

DO $$
BEGIN
  PERFORM public.fhir_grant_roles();
  -- By the functions above only, so that who decided and why cannot be left out or changed afterwards.
  IF to_regrole('fhir_operator') IS NOT NULL THEN
    REVOKE UPDATE (resolved_at, resolution, resolution_reason) ON public.fhir_dlq FROM fhir_operator;
  END IF;
END
$$;
