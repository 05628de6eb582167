-- Each role may do what the program does as that role, and nothing else: docs/roles.md lists it. Whatever else was listed
-- for the connector and its operator is taken back here, and no longer listed.

-- Who did it, as dead letters have it: by the login, which no function can be told.
ALTER TABLE public.fhir_backfill ADD COLUMN IF NOT EXISTS started_by text;
ALTER TABLE public.fhir_verification ADD COLUMN IF NOT EXISTS run_by text;

-- As before, and says who began it.
CREATE OR REPLACE FUNCTION public.fhir_backfill_start(source_tables text[], everyone boolean, restart boolean) RETURNS SETOF public.fhir_backfill
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  source text;
  begun timestamptz;
  lowest bigint;
  highest bigint;
BEGIN
  PERFORM FROM public.fhir_backfill AS b WHERE b.source_table = ANY (source_tables) ORDER BY b.source_table FOR UPDATE;
  SELECT min(b.started_at) INTO begun FROM public.fhir_backfill AS b
  WHERE b.source_table = ANY (source_tables) AND b.finished_at IS NULL AND NOT restart;
  FOREACH source IN ARRAY source_tables LOOP
    PERFORM public.fhir_check_source(source);
    -- Of another kind than what is under way: the caller refuses it.
    EXIT WHEN begun IS NOT NULL AND EXISTS (
      SELECT FROM public.fhir_backfill AS b
      WHERE b.source_table = ANY (source_tables) AND b.finished_at IS NULL AND b.everyone <> fhir_backfill_start.everyone);
    CONTINUE WHEN EXISTS (SELECT FROM public.fhir_backfill AS b WHERE b.source_table = source AND b.started_at >= begun);
    EXECUTE format('SELECT min(id), max(id) FROM public.%I', source) INTO lowest, highest;
    INSERT INTO public.fhir_backfill (source_table, everyone, position, upper_bound, started_by)
    VALUES (source, fhir_backfill_start.everyone, coalesce(lowest, 1) - 1, coalesce(highest, 0), session_user)
    ON CONFLICT ON CONSTRAINT fhir_backfill_pkey DO UPDATE
      SET everyone = excluded.everyone, position = excluded.position, upper_bound = excluded.upper_bound, emitted = 0,
          started_at = now(), updated_at = now(), finished_at = NULL, started_by = excluded.started_by;
  END LOOP;
  RETURN QUERY SELECT * FROM public.fhir_backfill AS b WHERE b.source_table = ANY (source_tables)
    ORDER BY array_position(source_tables, b.source_table);
END
$$;

-- Keeps the result of a verification that ends now, with who ran it.
CREATE OR REPLACE FUNCTION public.fhir_remember_verification(
  scope text, started_at timestamptz, checked bigint, undecided bigint, drift jsonb, repaired bigint
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
BEGIN ATOMIC
  INSERT INTO public.fhir_verification (scope, started_at, finished_at, checked, undecided, drift, repaired, run_by)
  VALUES (fhir_remember_verification.scope, fhir_remember_verification.started_at, clock_timestamp(), fhir_remember_verification.checked,
          fhir_remember_verification.undecided, fhir_remember_verification.drift, fhir_remember_verification.repaired, session_user);
END;

-- The connector may settle a dead letter by a later delivery; what a person decided it cannot undo, and decide nothing in a
-- person's place. The functions that do, and clean-up, run as the owner, who may update all columns.
CREATE OR REPLACE FUNCTION public.fhir_dlq_decided() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF has_table_privilege(TG_RELID, 'UPDATE') THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'What was decided on a dead letter stays, and is decided by fhir_replay_dead_letters() and fhir_discard_dead_letters()'
    USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE OR REPLACE TRIGGER fhir_dlq_decided BEFORE UPDATE ON public.fhir_dlq FOR EACH ROW
  WHEN (OLD.resolved_at IS NOT NULL OR NEW.resolution IN ('replayed', 'discarded'))
  EXECUTE FUNCTION public.fhir_dlq_decided();

REVOKE EXECUTE ON FUNCTION public.fhir_dlq_decided(),
  public.fhir_remember_verification(text, timestamptz, bigint, bigint, jsonb, bigint) FROM PUBLIC;

-- They have the rights of whom the others have.
DO $$
DECLARE
  owner text := (SELECT relowner::regrole FROM pg_catalog.pg_class WHERE oid = 'public.fhir_verification'::regclass);
BEGIN
  IF owner <> quote_ident(current_user) THEN
    EXECUTE format('ALTER FUNCTION public.fhir_dlq_decided() OWNER TO %s', owner);
    EXECUTE format('ALTER FUNCTION public.fhir_remember_verification(text, timestamptz, bigint, bigint, jsonb, bigint) OWNER TO %s', owner);
  END IF;
END
$$;

-- All of theirs goes, and what they need comes again below, in the same transaction. (Of a table that somebody has dropped
-- since there is nothing to take back.)
DO $$
DECLARE
  entry record;
BEGIN
  FOR entry IN
    SELECT role_name, granted FROM public.fhir_role_right
    WHERE role_name IN ('fhir_connector', 'fhir_operator') AND to_regrole(role_name) IS NOT NULL
  LOOP
    BEGIN
      EXECUTE format('REVOKE %s FROM %I', entry.granted, entry.role_name);
    EXCEPTION
      WHEN undefined_table OR undefined_function OR undefined_column THEN NULL;
    END;
  END LOOP;
END
$$;
DELETE FROM public.fhir_role_right WHERE role_name IN ('fhir_connector', 'fhir_operator');

INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  -- Nothing on the patients' tables: what is sent is in the outbox.
  ('fhir_connector', 'SELECT ON public.fhir_outbox'),
  ('fhir_connector', 'UPDATE (processed, processed_at, attempts, next_retry_at, fhir_resource_id, fhir_version, last_error) ON public.fhir_outbox'),
  -- Dead letters are made by the function, and their payloads read by nobody but people.
  ('fhir_connector', 'SELECT (outbox_id, txid, source_table, source_id, patient_id, patient_revision, first_failed_at, resolved_at) ON public.fhir_dlq'),
  ('fhir_connector', 'UPDATE (resolved_at, resolution, waits_for_table, waits_for_id) ON public.fhir_dlq'),
  ('fhir_connector', 'SELECT (event_key), INSERT (event_key) ON public.fhir_processed_event'),
  ('fhir_connector', 'SELECT, INSERT ON public.fhir_link'),
  ('fhir_connector', 'UPDATE (fhir_id, version_id, last_revision, deleted_at, updated_at) ON public.fhir_link'),
  ('fhir_connector', 'SELECT, INSERT, DELETE ON public.fhir_link_identifier'),
  ('fhir_connector', 'SELECT, INSERT ON public.fhir_slot'),
  ('fhir_connector', 'UPDATE (system_identifier, timeline, caught_up_at) ON public.fhir_slot'),
  ('fhir_connector', 'SELECT ON public.fhir_source, public.fhir_verification'),
  -- For `doctor`.
  ('fhir_connector', 'SELECT ON public.fhir_schema_migration, public.fhir_patient_revision, public.fhir_record_revision'),
  ('fhir_connector', 'SELECT ON SEQUENCE public.fhir_outbox_id_seq'),
  ('fhir_connector', 'USAGE ON SEQUENCE public.fhir_processed_event_id_seq'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_ensure_publication(text, integer, integer), public.fhir_drop_publication(text)'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_align_sequences(), public.fhir_cleanup_step(integer, integer, bigint, bigint)'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_emit(text, integer[]), public.fhir_replay_waiting(bigint, integer)'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint)'),
  -- Not the identifiers of before. The payload decides whether an id that the server made may be told. No clean-up: it would remove what was decided.
  ('fhir_operator', 'SELECT (id, txid, sequence_in_tx, table_name, record_id, operation, patient_id, patient_revision, created_at, processed, processed_at, attempts, next_retry_at, fhir_resource_id, fhir_version, last_error, traceparent, payload_json) ON public.fhir_outbox'),
  ('fhir_operator', 'SELECT ON public.fhir_dlq, public.fhir_processed_event, public.fhir_link, public.fhir_slot, public.fhir_source'),
  ('fhir_operator', 'SELECT ON public.fhir_backfill, public.fhir_verification, public.vw_fhir_pending_txids'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_replay_dead_letters(bigint[], text), public.fhir_discard_dead_letters(bigint[], text)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_emit(text, integer[])'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_backfill_start(text[], boolean, boolean), public.fhir_backfill_step(text, integer)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_verify_overview(text), public.fhir_verify_sources(text, bigint, integer), public.fhir_verify_sample(text, integer, bigint)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_verify_read(text, bigint[]), public.fhir_verify_unlinked(jsonb), public.fhir_verify_unlinked_records(text, jsonb)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_remember_verification(text, timestamptz, bigint, bigint, jsonb, bigint)');
SELECT public.fhir_grant_roles();
