-- Triggers that turn every committed change of patient and patient_other_identifiers into outbox rows of the same
-- transaction.
--
-- Statement triggers with transition tables (https://www.postgresql.org/docs/current/plpgsql-trigger.html), because
-- only they can take a statement's patients in id order and write the events as sets. Such a trigger serves one kind of
-- event, has no column list, and fires for statements that change nothing; the loops below then do nothing.
--
-- SECURITY DEFINER: the application needs no right on the outbox. row_security = off: were the definer subject to a
-- policy of the patient table, the change fails with an error instead of writing an event that lacks what the policy
-- hides. If the event cannot be written, the change is not made either.

-- Each loop takes whole patients, 2,000 at a time: an array cannot hold a statement of millions of rows.

CREATE OR REPLACE FUNCTION public.fhir_patient_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
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

-- Rows are paired by id. A row whose id changes is a delete of the old id and an insert of the new one.
-- (A FULL JOIN can only be hashed or merged; another join might be planned for one row and meet 100,000.)
CREATE OR REPLACE FUNCTION public.fhir_patient_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
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

CREATE OR REPLACE FUNCTION public.fhir_patient_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'D', c.id, c.old_row, c.had)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT o.id, to_jsonb(o) AS old_row, public.fhir_identifier(o.identifier_system, o.identifier_value, true) AS had,
             (row_number() OVER (ORDER BY o.id) - 1) / 2000 AS part
      FROM old_rows AS o
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient', changes);
  END LOOP;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION public.fhir_other_identifier_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'I', c.patient_id, NULL, '[]')::public.fhir_change ORDER BY c.patient_id, c.id)
    FROM (
      SELECT n.id, n.patient_id, (dense_rank() OVER (ORDER BY n.patient_id) - 1) / 2000 AS part FROM new_rows AS n
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient_other_identifiers', changes);
  END LOOP;
  RETURN NULL;
END
$$;

-- A row that moves from one patient to another changes both: two events.
CREATE OR REPLACE FUNCTION public.fhir_other_identifier_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, c.operation, c.patient_id, NULL, c.had)::public.fhir_change ORDER BY c.patient_id, c.id)
    FROM (
      SELECT
        id,
        CASE WHEN n.id IS NULL THEN 'D' WHEN o.id IS NULL THEN 'I' ELSE 'U' END AS operation,
        affected.patient_id,
        affected.had,
        (dense_rank() OVER (ORDER BY affected.patient_id) - 1) / 2000 AS part
      FROM old_rows AS o FULL JOIN new_rows AS n USING (id)
      CROSS JOIN LATERAL (
        SELECT o.patient_id,
               CASE WHEN (o.patient_id, o.identifier_system, o.identifier_value)
                         IS DISTINCT FROM (n.patient_id, n.identifier_system, n.identifier_value)
                    THEN public.fhir_identifier(o.identifier_system, o.identifier_value, false) END AS had
        WHERE o.patient_id IS NOT NULL
        UNION ALL
        SELECT n.patient_id, '[]'
        WHERE n.patient_id IS NOT NULL AND n.patient_id IS DISTINCT FROM o.patient_id
      ) AS affected
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient_other_identifiers', changes);
  END LOOP;
  RETURN NULL;
END
$$;

-- By ON DELETE CASCADE this comes after the patient's own delete, with no patient left to read: the payload is {} then.
CREATE OR REPLACE FUNCTION public.fhir_other_identifier_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'D', c.patient_id, NULL, c.had)::public.fhir_change ORDER BY c.patient_id, c.id)
    FROM (
      SELECT o.id, o.patient_id, public.fhir_identifier(o.identifier_system, o.identifier_value, false) AS had,
             (dense_rank() OVER (ORDER BY o.patient_id) - 1) / 2000 AS part
      FROM old_rows AS o
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient_other_identifiers', changes);
  END LOOP;
  RETURN NULL;
END
$$;

-- TRUNCATE fires no other trigger, not even in the tables that TRUNCATE … CASCADE empties. Afterwards there is nothing
-- left to read, so these run before it. The table is locked by then, but under REPEATABLE READ the transaction's older
-- snapshot could miss patients that TRUNCATE removes all the same
-- (https://www.postgresql.org/docs/current/mvcc-caveats.html): refused.
CREATE OR REPLACE FUNCTION public.fhir_patient_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'TRUNCATE of % works under READ COMMITTED only: its events would miss rows committed since this '
      'transaction began', TG_TABLE_NAME
      USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE, or begin the transaction with READ COMMITTED.';
  END IF;
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'D', c.id, c.old_row, c.had)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT p.id, to_jsonb(p) AS old_row, public.fhir_identifier(p.identifier_system, p.identifier_value, true) AS had,
             (row_number() OVER (ORDER BY p.id) - 1) / 2000 AS part
      FROM public.patient AS p
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient', changes, emptied => true);
  END LOOP;
  RETURN NULL;
END
$$;

-- One event for each patient that had other identifiers; record_id is the lowest of them.
CREATE OR REPLACE FUNCTION public.fhir_other_identifier_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'TRUNCATE of % works under READ COMMITTED only: its events would miss rows committed since this '
      'transaction began', TG_TABLE_NAME
      USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE, or begin the transaction with READ COMMITTED.';
  END IF;
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'D', c.patient_id, NULL, c.had)::public.fhir_change ORDER BY c.patient_id)
    FROM (
      SELECT min(o.id) AS id, o.patient_id,
             coalesce(jsonb_agg(jsonb_build_object('system', o.identifier_system, 'value', o.identifier_value,
                                                   'primary', false) ORDER BY o.id) FILTER (WHERE o.identifier_value IS NOT NULL), '[]') AS had,
             (row_number() OVER (ORDER BY o.patient_id) - 1) / 2000 AS part
      FROM public.patient_other_identifiers AS o
      GROUP BY o.patient_id
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient_other_identifiers', changes, emptied => true);
  END LOOP;
  RETURN NULL;
END
$$;

-- A trigger needs no EXECUTE right of whoever fires it.
REVOKE EXECUTE ON FUNCTION public.fhir_patient_inserted(), public.fhir_patient_updated(), public.fhir_patient_deleted(),
  public.fhir_patient_truncated(), public.fhir_other_identifier_inserted(), public.fhir_other_identifier_updated(),
  public.fhir_other_identifier_deleted(), public.fhir_other_identifier_truncated() FROM PUBLIC;

-- The triggers of the earlier, polling connector would write rows that this one cannot read.
DO $$
DECLARE
  earlier record;
BEGIN
  FOR earlier IN
    SELECT t.tgname, t.tgrelid::regclass AS tgrelid
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
    WHERE f.proname = 'fhir_outbox_write_notify' AND NOT t.tgisinternal
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', earlier.tgname, earlier.tgrelid);
    RAISE WARNING 'Removed the trigger % of the earlier connector from %.', earlier.tgname, earlier.tgrelid;
  END LOOP;
END
$$;

CREATE OR REPLACE TRIGGER fhir_patient_insert AFTER INSERT ON public.patient
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_patient_inserted();
CREATE OR REPLACE TRIGGER fhir_patient_update AFTER UPDATE ON public.patient
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_patient_updated();
CREATE OR REPLACE TRIGGER fhir_patient_delete AFTER DELETE ON public.patient
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_patient_deleted();
CREATE OR REPLACE TRIGGER fhir_patient_truncate BEFORE TRUNCATE ON public.patient
  FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_patient_truncated();

CREATE OR REPLACE TRIGGER fhir_other_identifier_insert AFTER INSERT ON public.patient_other_identifiers
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_other_identifier_inserted();
CREATE OR REPLACE TRIGGER fhir_other_identifier_update AFTER UPDATE ON public.patient_other_identifiers
  REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_other_identifier_updated();
CREATE OR REPLACE TRIGGER fhir_other_identifier_delete AFTER DELETE ON public.patient_other_identifiers
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_other_identifier_deleted();
CREATE OR REPLACE TRIGGER fhir_other_identifier_truncate BEFORE TRUNCATE ON public.patient_other_identifiers
  FOR EACH STATEMENT EXECUTE FUNCTION public.fhir_other_identifier_truncated();
