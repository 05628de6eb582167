-- A statement that changes many patients mostly names each of them once: their events need no windows, which identifiers do
-- (several of them may be one patient's). What is in an event stays the same.

-- The events of patients, each of them once among `changes`, in id order. Only fhir_write_events calls it, with its settings.
CREATE OR REPLACE FUNCTION public.fhir_write_patient_events(changes public.fhir_change[], emptied boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
-- The application's columns may have any name.
#variable_conflict use_variable
DECLARE
  current_txid bigint := pg_current_xact_id()::text::bigint;
  counted integer := public.fhir_count_events(current_txid, cardinality(changes));
BEGIN
  -- First a write, in id order, and the patients read only in the next statement: for the reasons that fhir_write_events gives.
  INSERT INTO public.fhir_patient_revision AS known (patient_id, revision)
  SELECT c.patient_id, 1 FROM unnest(changes) AS c ORDER BY c.patient_id
  ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + 1;

  INSERT INTO public.fhir_outbox (
    txid, sequence_in_tx, table_name, record_id, operation, payload_json,
    patient_id, identifier_system, identifier_value, patient_revision, previous_identifiers
  )
  SELECT
    current_txid,
    counted + c.position,
    'patient',
    c.record_id,
    -- What is true when the event is written decides, not which trigger came first: one statement may delete and insert
    -- a patient (WITH … DELETE … INSERT), and a trigger of the application's own may have removed the row again.
    CASE WHEN p.id IS NULL THEN 'D'
         WHEN c.operation = 'D' THEN 'U'
         ELSE c.operation END,
    -- A row made into jsonb at once is less work than two objects that are joined.
    CASE WHEN p.id IS NOT NULL
           THEN (SELECT to_jsonb(whole.*) FROM (SELECT p.*, others.listed AS other_identifiers) AS whole)
         WHEN c.old_row IS NOT NULL THEN c.old_row || jsonb_build_object('other_identifiers', others.listed)
         ELSE '{}' END,
    c.patient_id,
    CASE WHEN p.id IS NULL THEN c.old_row ->> 'identifier_system' ELSE p.identifier_system END,
    CASE WHEN p.id IS NULL THEN c.old_row ->> 'identifier_value' ELSE p.identifier_value END,
    r.revision,
    CASE WHEN c.had IS NULL THEN NULL
         WHEN c.operation = 'I' THEN '[]'
         ELSE c.had || others.unchanged END
  FROM unnest(changes) WITH ORDINALITY AS c (record_id, operation, patient_id, old_row, had, position)
  JOIN public.fhir_patient_revision AS r ON r.patient_id = c.patient_id
  LEFT JOIN public.patient AS p ON p.id = c.patient_id AND NOT emptied
  CROSS JOIN LATERAL public.fhir_other_identifiers(c.patient_id, false, '{}') AS others
  ORDER BY c.position;
END
$$;

-- As before, but for patients that are each changed once. (A patient is changed more than once by one statement where two of
-- its columns are set to NULL, or changed, by a foreign key: its row is then in the statement's tables as often.)
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
#variable_conflict use_variable
DECLARE
  current_txid bigint;
  counted integer;
BEGIN
  IF source_table = 'patient' AND cardinality(changes) = (SELECT count(DISTINCT c.patient_id) FROM unnest(changes) AS c) THEN
    PERFORM public.fhir_write_patient_events(changes, emptied);
    RETURN;
  END IF;
  current_txid := pg_current_xact_id()::text::bigint;
  counted := public.fhir_count_events(current_txid, cardinality(changes));
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
  CROSS JOIN LATERAL public.fhir_other_identifiers(c.patient_id, emptied AND source_table <> 'patient', c.changed_ids) AS others
  ORDER BY c.patient_id, c.position;
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_write_patient_events(public.fhir_change[], boolean) FROM PUBLIC;

-- The triggers run as the owner that they had before, which may be another role than the one that runs this.
DO $$
DECLARE
  owner text := (SELECT proowner::regrole FROM pg_catalog.pg_proc
                 WHERE oid = 'public.fhir_write_events(text, public.fhir_change[], boolean)'::regprocedure);
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION public.fhir_write_patient_events(public.fhir_change[], boolean) TO %s', owner);
END
$$;
