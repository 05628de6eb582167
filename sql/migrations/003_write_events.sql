-- The one function that writes events to the outbox; the triggers and fhir_emit_patient() call it.

-- One changed row, as a trigger sees it.
DO $$
BEGIN
  IF to_regtype('public.fhir_change') IS NULL THEN
    CREATE TYPE public.fhir_change AS (
      record_id integer,
      operation text,     -- I, U, D
      patient_id integer,
      old_row jsonb,      -- the patient's row if it is being deleted: it can no longer be read
      had jsonb           -- its identifiers [{system, value, primary}] before; NULL = the change leaves them alone
    );
  END IF;
END
$$;

-- [{system, value, primary}], or [] where there is no value: an identifier without one says nothing.
CREATE OR REPLACE FUNCTION public.fhir_identifier(system text, value text, is_primary boolean) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL THEN '[]'::jsonb
            ELSE jsonb_build_array(jsonb_build_object('system', system, 'value', value, 'primary', is_primary)) END;

-- Writes one outbox row a change. All changes of one patient in one statement belong in one
-- call, in the order in which they count (a delete before an insert of the same id).
--
-- emptied: source_table is about to be truncated; its rows, though still there, are to be seen as gone.
CREATE OR REPLACE FUNCTION public.fhir_write_events(
  source_table text, changes public.fhir_change[], emptied boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET row_security = off
-- Planned once a session, and by index whatever the tables' sizes were at that moment: a plan made while the tables
-- were almost empty would otherwise read them whole for every row of a later bulk load.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
  current_txid bigint := pg_current_xact_id()::text::bigint;
  -- Counts this transaction's events. A setting is the one place that a transaction has to itself, that ROLLBACK TO
  -- SAVEPOINT turns back, and that needs no cleaning. Anyone may have written anything into it, so only our own form
  -- counts. (The pattern is constant because one with the txid in it would be compiled anew in every transaction: that
  -- halved the speed of small ones.)
  counter text := current_setting('fhir.sequence_in_tx', true);
  counted integer := CASE WHEN split_part(counter, ':', 1) = current_txid::text
                           AND split_part(counter, ':', 2) ~ '^[0-9]{1,9}$'
                          THEN split_part(counter, ':', 2)::integer ELSE 0 END;
BEGIN
  -- First a write that all changes of one patient meet at, in id order so that two statements cannot deadlock here. The
  -- row stays locked until commit: revisions therefore are in commit order. Two transactions that change one patient,
  -- one its row and one its identifiers, would otherwise each write an event without the other's half, and the last one
  -- would stand. https://www.postgresql.org/docs/current/transaction-iso.html
  INSERT INTO public.fhir_patient_revision AS known (patient_id, revision)
  SELECT c.patient_id, count(*) FROM unnest(changes) AS c GROUP BY c.patient_id ORDER BY c.patient_id
  ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + excluded.revision;

  -- Only now, in the next statement, the patient is read. Under READ COMMITTED that is a new snapshot, taken after any
  -- wait above, so it sees what the other transaction committed. Under REPEATABLE READ the write above failed with
  -- 40001 if there was one: a lock instead of a write would go through there and read stale rows.
  INSERT INTO public.fhir_outbox (
    txid, sequence_in_tx, table_name, record_id, operation, payload_json,
    patient_id, identifier_system, identifier_value, patient_revision, previous_identifiers
  )
  SELECT
    current_txid,
    counted + c.position,
    source_table,
    c.record_id,
    -- What is true when the event is written decides, not which trigger came first: one statement may delete and insert
    -- a patient (WITH … DELETE … INSERT), and a trigger of the application's own may have removed the row again.
    CASE WHEN source_table <> 'patient' THEN c.operation
         WHEN p.id IS NULL THEN 'D'
         WHEN c.operation = 'D' THEN 'U'
         ELSE c.operation END,
    CASE WHEN p.id IS NOT NULL THEN to_jsonb(p) || jsonb_build_object('other_identifiers', others.listed)
         WHEN c.old_row IS NOT NULL THEN c.old_row || jsonb_build_object('other_identifiers', others.listed)
         ELSE '{}' END,
    c.patient_id,
    CASE WHEN p.id IS NULL THEN c.old_row ->> 'identifier_system' ELSE p.identifier_system END,
    CASE WHEN p.id IS NULL THEN c.old_row ->> 'identifier_value' ELSE p.identifier_value END,
    r.revision - c.of_patient + c.nth_of_patient,
    CASE WHEN c.had IS NULL THEN NULL
         WHEN source_table <> 'patient'
           THEN public.fhir_identifier(p.identifier_system, p.identifier_value, true) || others.unchanged
                || jsonb_path_query_array(c.all_had, '$[*][*]')
         WHEN c.operation = 'I' THEN '[]'
         ELSE c.had || others.unchanged END
  FROM (
    SELECT
      change.*,
      count(*) OVER patient AS of_patient,
      row_number() OVER patient AS nth_of_patient,
      jsonb_agg(change.had) FILTER (WHERE change.had IS NOT NULL) OVER patient AS all_had,
      CASE WHEN source_table = 'patient' THEN '{}'
           ELSE array_agg(change.record_id) FILTER (WHERE change.had IS NOT NULL) OVER patient END AS changed_ids
    FROM unnest(changes) WITH ORDINALITY AS change (record_id, operation, patient_id, old_row, had, position)
    WINDOW patient AS (PARTITION BY change.patient_id ORDER BY change.position
                       ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  ) AS c
  JOIN public.fhir_patient_revision AS r ON r.patient_id = c.patient_id
  LEFT JOIN public.patient AS p ON p.id = c.patient_id AND NOT (emptied AND source_table = 'patient')
  CROSS JOIN LATERAL (
    SELECT
      coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'identifier_system', o.identifier_system,
                                            'identifier_value', o.identifier_value) ORDER BY o.id), '[]') AS listed,
      coalesce(jsonb_agg(jsonb_build_object('system', o.identifier_system, 'value', o.identifier_value, 'primary', false)
                         ORDER BY o.id)
               FILTER (WHERE o.identifier_value IS NOT NULL AND o.id <> ALL (c.changed_ids)), '[]') AS unchanged
    FROM public.patient_other_identifiers AS o
    WHERE o.patient_id = c.patient_id AND NOT (emptied AND source_table <> 'patient')
  ) AS others
  ORDER BY c.patient_id, c.position;

  PERFORM set_config('fhir.sequence_in_tx', format('%s:%s', current_txid, counted + cardinality(changes)), true);
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_identifier(text, text, boolean) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION public.fhir_write_events(text, public.fhir_change[], boolean) FROM PUBLIC;
