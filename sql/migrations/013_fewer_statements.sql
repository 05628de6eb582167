-- The same events of a statement that inserts or updates one patient, for less: what costs is each SQL statement that a
-- trigger carries out and each plan's start, so there are fewer of them and with less in them.

-- As before. (PERFORM would carry out a query; an assignment calls the function. Without a search_path of its own, which
-- has to be set and set back: its callers, which alone may call it, have one.)
CREATE OR REPLACE FUNCTION public.fhir_count_events(current_txid bigint, more integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  counter text := current_setting('fhir.sequence_in_tx', true);
  counted integer := CASE WHEN split_part(counter, ':', 1) = current_txid::text
                           AND split_part(counter, ':', 2) ~ '^[0-9]{1,9}$'
                          THEN split_part(counter, ':', 2)::integer ELSE 0 END;
BEGIN
  counter := set_config('fhir.sequence_in_tx', current_txid || ':' || counted + more, true);
  RETURN counted;
END
$$;
ALTER FUNCTION public.fhir_count_events(bigint, integer) RESET ALL;

-- The event of a patient that a statement inserted or updated alone; returns its revision. The triggers below, which alone
-- may call it, have the settings that fhir_write_events has. `had`: its identifiers before, if the change touches them.
CREATE OR REPLACE FUNCTION public.fhir_write_single_event(changed_id integer, changed_by text, had jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
-- The application's columns may have any name.
#variable_conflict use_variable
DECLARE
  current_txid bigint := pg_current_xact_id()::text::bigint;
  counted integer := public.fhir_count_events(current_txid, 1);
  new_revision bigint;
BEGIN
  -- First a write, and the patient read only in the next statements: for the reasons that fhir_write_events gives.
  INSERT INTO public.fhir_patient_revision AS known (patient_id, revision) VALUES (changed_id, 1)
  ON CONFLICT (patient_id) DO UPDATE SET revision = known.revision + 1
  RETURNING revision INTO new_revision;

  IF changed_by = 'U' AND had IS NOT NULL THEN
    had := had || (SELECT others.unchanged FROM public.fhir_other_identifiers(changed_id, false, '{}') AS others);
  END IF;

  INSERT INTO public.fhir_outbox (
    txid, sequence_in_tx, table_name, record_id, operation, payload_json,
    patient_id, identifier_system, identifier_value, patient_revision, previous_identifiers
  )
  SELECT
    current_txid, counted + 1, 'patient', changed_id, changed_by,
    to_jsonb(p.*) || jsonb_build_object(
      'other_identifiers', (SELECT others.listed FROM public.fhir_other_identifiers(changed_id, false, '{}') AS others)),
    changed_id, p.identifier_system, p.identifier_value, new_revision, had
  FROM public.patient AS p WHERE p.id = changed_id;
  -- A trigger of the application's own has removed the row again.
  IF NOT FOUND THEN
    INSERT INTO public.fhir_outbox (
      txid, sequence_in_tx, table_name, record_id, operation, payload_json, patient_id, patient_revision, previous_identifiers
    )
    VALUES (current_txid, counted + 1, 'patient', changed_id, 'D', '{}', changed_id, new_revision, had);
  END IF;
  RETURN new_revision;
END
$$;

CREATE OR REPLACE FUNCTION public.fhir_patient_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  changes public.fhir_change[];
  id integer;
  revision bigint;
BEGIN
  -- One row, and no second.
  SELECT n.id INTO id FROM new_rows AS n WHERE NOT EXISTS (SELECT FROM new_rows OFFSET 1);
  IF FOUND THEN
    revision := public.fhir_write_single_event(id, 'I', '[]');
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
  revision bigint;
BEGIN
  -- One row and no second, and its id did not change.
  SELECT n.id,
         CASE WHEN (o.identifier_system, o.identifier_value) IS DISTINCT FROM (n.identifier_system, n.identifier_value)
              THEN public.fhir_identifier(o.identifier_system, o.identifier_value, true) END AS had
    INTO single FROM old_rows AS o, new_rows AS n WHERE o.id = n.id AND NOT EXISTS (SELECT FROM new_rows OFFSET 1);
  IF FOUND THEN
    revision := public.fhir_write_single_event(single.id, 'U', single.had);
    RETURN NULL;
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

-- fhir_write_event stays, called no more: a statement of another session may be in the middle of the trigger that called it.
REVOKE EXECUTE ON FUNCTION public.fhir_write_single_event(integer, text, jsonb) FROM PUBLIC;

-- The triggers run as the owner that they had before, which may be another role than the one that runs this.
DO $$
DECLARE
  owner text := (SELECT proowner::regrole FROM pg_catalog.pg_proc
                 WHERE oid = 'public.fhir_write_events(text, public.fhir_change[], boolean)'::regprocedure);
BEGIN
  EXECUTE format('GRANT EXECUTE ON FUNCTION public.fhir_write_single_event(integer, text, jsonb) TO %s', owner);
END
$$;
