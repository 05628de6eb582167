-- Most statements insert or update one patient. Such a statement writes its event in a straight way, without the arrays,
-- windows and sorts that only sets need and that cost more than all the rest. What is in an event is the same both ways.

-- Counts this transaction's events: adds `more` and returns how many there were. A setting is the one place that a
-- transaction has to itself, that ROLLBACK TO SAVEPOINT turns back, and that needs no cleaning. Anyone may have written
-- anything into it, so only our own form counts. (The pattern is constant because one with the txid in it would be
-- compiled anew in every transaction: that halved the speed of small ones.)
CREATE OR REPLACE FUNCTION public.fhir_count_events(current_txid bigint, more integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  counter text := current_setting('fhir.sequence_in_tx', true);
  counted integer := CASE WHEN split_part(counter, ':', 1) = current_txid::text
                           AND split_part(counter, ':', 2) ~ '^[0-9]{1,9}$'
                          THEN split_part(counter, ':', 2)::integer ELSE 0 END;
BEGIN
  PERFORM set_config('fhir.sequence_in_tx', format('%s:%s', current_txid, counted + more), true);
  RETURN counted;
END
$$;

-- A patient's other identifiers, as the payload lists them and as what they were before: all but those that change. One
-- statement without a search_path of its own (its callers have one), for only so PostgreSQL plans it as a part of theirs.
-- https://www.postgresql.org/docs/current/xfunc-sql.html . (A column of the table goes before a parameter that is not qualified.)
CREATE OR REPLACE FUNCTION public.fhir_other_identifiers(of_patient integer, emptied boolean, changed_ids integer[])
RETURNS TABLE (listed jsonb, unchanged jsonb)
LANGUAGE sql STABLE AS $$
  SELECT
    coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'identifier_system', o.identifier_system,
                                          'identifier_value', o.identifier_value) ORDER BY o.id), '[]'),
    coalesce(jsonb_agg(jsonb_build_object('system', o.identifier_system, 'value', o.identifier_value, 'primary', false)
                       ORDER BY o.id)
             FILTER (WHERE o.identifier_value IS NOT NULL AND o.id <> ALL (fhir_other_identifiers.changed_ids)), '[]')
  FROM public.patient_other_identifiers AS o
  WHERE o.patient_id = fhir_other_identifiers.of_patient AND NOT fhir_other_identifiers.emptied
$$;

-- The event of a patient that a statement inserted or updated alone. The triggers below, which alone may call it, have the
-- settings that fhir_write_events has.
CREATE OR REPLACE FUNCTION public.fhir_write_event(changed_id integer, changed_by text, had jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
-- The application's columns may have any name.
#variable_conflict use_variable
DECLARE
  current_txid bigint := pg_current_xact_id()::text::bigint;
  counted integer := public.fhir_count_events(current_txid, 1);
  new_revision bigint;
BEGIN
  -- First a write, and the patient read only in the next statement: for the reasons that fhir_write_events gives.
  INSERT INTO public.fhir_patient_revision AS known (patient_id, revision) VALUES (changed_id, 1)
  ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + 1
  RETURNING revision INTO new_revision;

  INSERT INTO public.fhir_outbox (
    txid, sequence_in_tx, table_name, record_id, operation, payload_json,
    patient_id, identifier_system, identifier_value, patient_revision, previous_identifiers
  )
  SELECT
    current_txid,
    counted + 1,
    'patient',
    changed_id,
    CASE WHEN p.id IS NULL THEN 'D' ELSE changed_by END,
    CASE WHEN p.id IS NULL THEN '{}' ELSE to_jsonb(p) || jsonb_build_object('other_identifiers', others.listed) END,
    changed_id,
    p.identifier_system,
    p.identifier_value,
    new_revision,
    CASE WHEN had IS NULL THEN NULL
         WHEN changed_by = 'I' THEN '[]'
         ELSE had || others.unchanged END
  FROM public.fhir_other_identifiers(changed_id, false, '{}') AS others
  LEFT JOIN public.patient AS p ON p.id = changed_id;
END
$$;

-- As before, by way of the two functions above.
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
  current_txid bigint := pg_current_xact_id()::text::bigint;
  counted integer := public.fhir_count_events(current_txid, cardinality(changes));
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
  CROSS JOIN LATERAL public.fhir_other_identifiers(c.patient_id, emptied AND source_table <> 'patient', c.changed_ids) AS others
  ORDER BY c.patient_id, c.position;
END
$$;

CREATE OR REPLACE FUNCTION public.fhir_patient_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  changes public.fhir_change[];
  id integer;
BEGIN
  IF (SELECT count(*) FROM (SELECT FROM new_rows LIMIT 2) AS few) = 1 THEN
    SELECT n.id INTO id FROM new_rows AS n;
    PERFORM public.fhir_write_event(id, 'I', '[]');
    RETURN NULL;
  END IF;
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'I', c.id, NULL, '[]')::public.fhir_change ORDER BY c.id)
    FROM (SELECT n.id, (row_number() OVER (ORDER BY n.id) - 1) / 2000 AS part FROM new_rows AS n) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient', changes);
  END LOOP;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION public.fhir_patient_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  changes public.fhir_change[];
  single record;
BEGIN
  IF (SELECT count(*) FROM (SELECT FROM new_rows LIMIT 2) AS few) = 1 THEN
    SELECT n.id,
           CASE WHEN (o.identifier_system, o.identifier_value) IS DISTINCT FROM (n.identifier_system, n.identifier_value)
                THEN public.fhir_identifier(o.identifier_system, o.identifier_value, true) END AS had
      INTO single FROM old_rows AS o, new_rows AS n WHERE o.id = n.id;
    -- Not so if its id changed.
    IF FOUND THEN
      PERFORM public.fhir_write_event(single.id, 'U', single.had);
      RETURN NULL;
    END IF;
  END IF;
  FOR changes IN
    SELECT array_agg(ROW(c.id, c.operation, c.id, c.old_row, c.had)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT
        id,
        CASE WHEN n.id IS NULL THEN 'D' WHEN o.id IS NULL THEN 'I' ELSE 'U' END AS operation,
        CASE WHEN n.id IS NULL THEN to_jsonb(o) END AS old_row,
        CASE WHEN (o.identifier_system, o.identifier_value) IS DISTINCT FROM (n.identifier_system, n.identifier_value)
               OR n.id IS NULL OR o.id IS NULL
             THEN public.fhir_identifier(o.identifier_system, o.identifier_value, true) END AS had,
        (row_number() OVER (ORDER BY id) - 1) / 2000 AS part
      FROM old_rows AS o FULL JOIN new_rows AS n USING (id)
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient', changes);
  END LOOP;
  RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_count_events(bigint, integer), public.fhir_other_identifiers(integer, boolean, integer[]),
  public.fhir_write_event(integer, text, jsonb) FROM PUBLIC;

-- The triggers run as the owner that they had before, which may be another role than the one that runs this.
DO $$
DECLARE
  owner text := (SELECT proowner::regrole FROM pg_catalog.pg_proc
                 WHERE oid = 'public.fhir_write_events(text, public.fhir_change[], boolean)'::regprocedure);
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION public.fhir_count_events(bigint, integer), '
    'public.fhir_other_identifiers(integer, boolean, integer[]), public.fhir_write_event(integer, text, jsonb) TO %s', owner);
END
$$;
