-- Forms and readings, and whatever table is added to them: each row is a FHIR resource of its own. Such a table has an
-- integer id, and an integer patient_id, in whose order its changes are delivered.

-- The tables that the functions below may read, which run with their owner's rights, and what a row of each becomes.
-- A file that adds a table says: INSERT INTO public.fhir_source VALUES ('allergy', 'AllergyIntolerance') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS public.fhir_source (
  table_name text PRIMARY KEY,
  resource_type text NOT NULL,
  watched boolean NOT NULL DEFAULT false      -- its triggers are there, or should be: fhir_watch()
);
INSERT INTO public.fhir_source (table_name, resource_type, watched) VALUES
  ('patient', 'Patient', true), ('form', 'Encounter', false), ('blood_pressure', 'Observation', false), ('pulse', 'Observation', false)
ON CONFLICT DO NOTHING;

-- The system of the identifiers that the connector gives to resources whose rows have none of their own: of this database
-- alone, and its copies'. The oldest row counts: where a database moves to a server on which `migrate` has made one, that is the
-- one that comes along.
CREATE TABLE IF NOT EXISTS public.fhir_own_system (
  created_at timestamptz NOT NULL DEFAULT now(),
  uri text NOT NULL,
  PRIMARY KEY (created_at, uri)
);
INSERT INTO public.fhir_own_system (uri) SELECT 'urn:uuid:' || gen_random_uuid()
WHERE NOT EXISTS (SELECT FROM public.fhir_own_system);

CREATE OR REPLACE FUNCTION public.fhir_own_uri() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT own.uri FROM public.fhir_own_system AS own ORDER BY own.created_at, own.uri LIMIT 1
$$;

-- As a payload carries it. No other row of this database has it, and the row cannot lose it. (Without settings of its own, so that
-- PostgreSQL plans it as a part of the statement that calls it.)
CREATE OR REPLACE FUNCTION public.fhir_own_identifier(own_uri text, source_table text, record_id bigint) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object('fhir_identifier', jsonb_build_object('system', own_uri, 'value', source_table || '/' || record_id));

-- What orders a row's events, as fhir_patient_revision does a patient's. Not the patient's own number: whoever writes readings
-- of several patients would wait for, and might deadlock with, whoever else does.
CREATE TABLE IF NOT EXISTS public.fhir_record_revision (
  table_name text NOT NULL,
  record_id integer NOT NULL,
  revision bigint NOT NULL,
  PRIMARY KEY (table_name, record_id)
);

-- Two tables may become one type of resource, so a link is known by its table.
ALTER TABLE public.fhir_link ADD COLUMN IF NOT EXISTS source_table text NOT NULL DEFAULT 'patient';
ALTER TABLE public.fhir_link ALTER COLUMN source_table DROP DEFAULT;
ALTER TABLE public.fhir_link DROP CONSTRAINT IF EXISTS fhir_link_pkey;
ALTER TABLE public.fhir_link ADD PRIMARY KEY (source_table, source_id);
ALTER TABLE public.fhir_dlq ADD COLUMN IF NOT EXISTS source_table text;
UPDATE public.fhir_dlq SET source_table = 'patient', source_id = patient_id
WHERE source_table IS NULL AND table_name IN ('patient', 'patient_other_identifiers') AND patient_id IS NOT NULL;
DROP INDEX IF EXISTS public.fhir_dlq_unresolved_idx;
CREATE INDEX fhir_dlq_unresolved_idx ON public.fhir_dlq (source_table, source_id) WHERE resolved_at IS NULL;

-- Writes one outbox row a change, in id order; each row of the table once. As fhir_write_events does for patients, and for
-- the same reasons: first a write, and the rows read only in the next statement. `emptied`: source_table is about to be
-- truncated; its rows, though still there, are to be seen as gone.
CREATE OR REPLACE FUNCTION public.fhir_write_record_events(
  source_table text, changes public.fhir_change[], emptied boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET row_security = off SET enable_seqscan = off AS $$
#variable_conflict use_variable
DECLARE
  current_txid bigint := pg_current_xact_id()::text::bigint;
  counted integer;
BEGIN
  IF NOT EXISTS (SELECT FROM public.fhir_source AS s WHERE s.table_name = source_table AND s.table_name <> 'patient') THEN
    RAISE EXCEPTION 'public.fhir_source does not have the table %', source_table USING ERRCODE = 'invalid_parameter_value';
  END IF;
  counted := public.fhir_count_events(current_txid, cardinality(changes));
  INSERT INTO public.fhir_record_revision AS known (table_name, record_id, revision)
  SELECT source_table, c.record_id, 1 FROM unnest(changes) AS c ORDER BY c.record_id
  ON CONFLICT (table_name, record_id) DO UPDATE SET revision = known.revision + 1;

  -- What is true when the event is written decides, not which trigger came first. (A column of the table's may have any name.)
  EXECUTE format($statement$
    INSERT INTO public.fhir_outbox (
      txid, sequence_in_tx, table_name, record_id, operation, payload_json, patient_id, patient_revision
    )
    SELECT
      $1, $2 + c.position, $3, c.record_id,
      CASE WHEN source_row.id IS NULL THEN 'D' WHEN c.operation = 'D' THEN 'U' ELSE c.operation END,
      coalesce(CASE WHEN source_row.id IS NOT NULL THEN to_jsonb(source_row.*) END, c.old_row, '{}')
        || public.fhir_own_identifier($6, $3, c.record_id),
      CASE WHEN source_row.id IS NULL THEN c.patient_id ELSE source_row.patient_id END,
      r.revision
    FROM unnest($4) WITH ORDINALITY AS c (record_id, operation, patient_id, old_row, had, position)
    JOIN public.fhir_record_revision AS r ON r.table_name = $3 AND r.record_id = c.record_id
    LEFT JOIN public.%I AS source_row ON source_row.id = c.record_id AND NOT $5
    ORDER BY c.position $statement$, source_table)
  USING current_txid, counted, source_table, changes, emptied, public.fhir_own_uri();
END
$$;

-- The triggers of all these tables. Each loop takes 2,000 rows at a time: an array cannot hold a statement of millions.

CREATE OR REPLACE FUNCTION public.fhir_record_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'I', c.patient_id, NULL, NULL)::public.fhir_change ORDER BY c.id)
    FROM (SELECT n.id, n.patient_id, (row_number() OVER (ORDER BY n.id) - 1) / 2000 AS part FROM new_rows AS n) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_record_events(TG_TABLE_NAME, changes);
  END LOOP;
  RETURN NULL;
END
$$;

-- A row whose id changes is a delete of the old id and an insert of the new one. A foreign key that sets two of a row's columns
-- has it twice in the statement's tables.
CREATE OR REPLACE FUNCTION public.fhir_record_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, c.operation, c.patient_id, c.old_row, NULL)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT once.*, (row_number() OVER (ORDER BY once.id) - 1) / 2000 AS part
      FROM (
        SELECT DISTINCT ON (id)
          id,
          CASE WHEN n.id IS NULL THEN 'D' WHEN o.id IS NULL THEN 'I' ELSE 'U' END AS operation,
          coalesce(n.patient_id, o.patient_id) AS patient_id,
          -- What is left of the row where another foreign key of the same statement deletes it.
          coalesce(to_jsonb(n.*), to_jsonb(o.*)) AS old_row
        FROM old_rows AS o FULL JOIN new_rows AS n USING (id)
        ORDER BY id
      ) AS once
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_record_events(TG_TABLE_NAME, changes);
  END LOOP;
  RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION public.fhir_record_deleted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'D', c.patient_id, c.old_row, NULL)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT o.id, o.patient_id, to_jsonb(o.*) AS old_row, (row_number() OVER (ORDER BY o.id) - 1) / 2000 AS part
      FROM old_rows AS o
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_record_events(TG_TABLE_NAME, changes);
  END LOOP;
  RETURN NULL;
END
$$;

-- Before the rows are gone, and under READ COMMITTED only: for the reasons that 004_triggers.sql gives.
CREATE OR REPLACE FUNCTION public.fhir_record_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'TRUNCATE of % works under READ COMMITTED only: its events would miss rows committed since this '
      'transaction began', TG_TABLE_NAME
      USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE, or begin the transaction with READ COMMITTED.';
  END IF;
  FOR changes IN EXECUTE format($statement$
    SELECT array_agg(ROW(c.id, 'D', c.patient_id, c.old_row, NULL)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT t.id, t.patient_id, to_jsonb(t.*) AS old_row, (row_number() OVER (ORDER BY t.id) - 1) / 2000 AS part
      FROM public.%I AS t
    ) AS c
    GROUP BY c.part ORDER BY c.part $statement$, TG_TABLE_NAME)
  LOOP
    PERFORM public.fhir_write_record_events(TG_TABLE_NAME, changes, emptied => true);
  END LOOP;
  RETURN NULL;
END
$$;

-- Has the triggers write the events of a table, from now on; true if they did not before. (What is in it already `backfill` sends.)
-- Run as the table's owner.
CREATE OR REPLACE FUNCTION public.fhir_watch(source_table text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  source_oid oid := to_regclass(format('public.%I', source_table));
  -- Whose rights the triggers have.
  writer oid := (SELECT relowner FROM pg_class WHERE oid = 'public.fhir_outbox'::regclass);
  one record;
BEGIN
  IF NOT EXISTS (SELECT FROM public.fhir_source AS s WHERE s.table_name = source_table) OR source_oid IS NULL THEN
    RAISE EXCEPTION 'The table % cannot be watched: it has to be in public, and in public.fhir_source', source_table
      USING ERRCODE = 'undefined_table';
  END IF;
  -- The patient's own, which 004_triggers.sql made, are more than these.
  IF source_table = 'patient' THEN
    RETURN false;
  END IF;
  IF 2 <> (SELECT count(*) FROM pg_attribute AS a
           WHERE a.attrelid = source_oid AND a.attname IN ('id', 'patient_id') AND a.atttypid IN ('integer'::regtype, 'smallint'::regtype))
  THEN
    RAISE EXCEPTION 'The table % cannot be watched: it needs the columns id and patient_id, both of type integer', source_table
      USING ERRCODE = 'datatype_mismatch';
  END IF;
  IF NOT has_table_privilege(writer, source_oid, 'SELECT') THEN
    RAISE EXCEPTION 'The table % cannot be watched: have its owner run GRANT SELECT ON public.% TO %', source_table,
      quote_ident(source_table), writer::regrole
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = source_oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id')
  THEN
    RAISE EXCEPTION 'The table % cannot be watched: its column id needs a primary key or a unique index', source_table
      USING ERRCODE = 'datatype_mismatch';
  END IF;
  FOR one IN
    SELECT * FROM (VALUES
      ('fhir_record_insert', 'AFTER INSERT', 'REFERENCING NEW TABLE AS new_rows', 'fhir_record_inserted'),
      ('fhir_record_update', 'AFTER UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows', 'fhir_record_updated'),
      ('fhir_record_delete', 'AFTER DELETE', 'REFERENCING OLD TABLE AS old_rows', 'fhir_record_deleted'),
      ('fhir_record_truncate', 'BEFORE TRUNCATE', '', 'fhir_record_truncated')) AS t (name, event, tables, does)
    WHERE NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = source_oid AND g.tgname = t.name)
  LOOP
    EXECUTE format('CREATE TRIGGER %I %s ON public.%I %s FOR EACH STATEMENT EXECUTE FUNCTION public.%I()',
                   one.name, one.event, source_table, one.tables, one.does);
  END LOOP;
  UPDATE public.fhir_source AS s SET watched = true WHERE s.table_name = source_table AND NOT s.watched;
  RETURN FOUND;
END
$$;

-- Ends that: later changes of the table reach nobody.
CREATE OR REPLACE FUNCTION public.fhir_unwatch(source_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['fhir_record_insert', 'fhir_record_update', 'fhir_record_delete', 'fhir_record_truncate'] LOOP
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON public.%I', name, source_table);
  END LOOP;
  UPDATE public.fhir_source AS s SET watched = false WHERE s.table_name = fhir_unwatch.source_table AND s.table_name <> 'patient';
END
$$;

-- The number of a row's last event; NULL before the first.
CREATE OR REPLACE FUNCTION public.fhir_revision(source_table text, source_id bigint) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
  SELECT CASE WHEN source_table = 'patient'
    THEN (SELECT r.revision FROM public.fhir_patient_revision AS r WHERE r.patient_id = source_id)
    ELSE (SELECT r.revision FROM public.fhir_record_revision AS r WHERE r.table_name = source_table AND r.record_id = source_id) END
$$;

-- Emits the current state of these rows, in id order and each once, as if they had just changed; returns how many. A row that
-- is gone gives a delete, of which the identifier alone is left.
CREATE OR REPLACE FUNCTION public.fhir_emit(source_table text, ids integer[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  changes public.fhir_change[];
  emitted integer := 0;
BEGIN
  IF source_table = 'patient' THEN
    RETURN public.fhir_emit_patients(ids);
  END IF;
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'U', NULL, NULL, NULL)::public.fhir_change ORDER BY c.id)
    FROM (SELECT wanted.id, (row_number() OVER (ORDER BY wanted.id) - 1) / 2000 AS part
          FROM (SELECT DISTINCT unnest(ids) AS id) AS wanted) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_record_events(source_table, changes);
    emitted := emitted + cardinality(changes);
  END LOOP;
  RETURN emitted;
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_write_record_events(text, public.fhir_change[], boolean), public.fhir_record_inserted(),
  public.fhir_record_updated(), public.fhir_record_deleted(), public.fhir_record_truncated(), public.fhir_watch(text),
  public.fhir_unwatch(text), public.fhir_own_identifier(text, text, bigint), public.fhir_own_uri(),
  public.fhir_revision(text, bigint), public.fhir_emit(text, integer[]) FROM PUBLIC;
