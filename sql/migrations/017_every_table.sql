-- Dead letters, backfill and verify, which knew patients alone, of every table that is sent.

-- A dead letter may wait for the resource that it refers to: fhir_replay_waiting sends it again when that is there.
ALTER TABLE public.fhir_dlq
  ADD COLUMN IF NOT EXISTS waits_for_table text,
  ADD COLUMN IF NOT EXISTS waits_for_id bigint;
CREATE INDEX IF NOT EXISTS fhir_dlq_waiting_idx ON public.fhir_dlq (waits_for_table, waits_for_id)
  WHERE resolved_at IS NULL AND waits_for_table IS NOT NULL;

-- As before, of any table.
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
  source public.fhir_source;
  dead_letter_id bigint;
BEGIN
  -- The lock lets one of two callers wait for the other instead of making a second dead letter.
  SELECT * INTO event FROM public.fhir_outbox WHERE id = fhir_move_outbox_to_dlq.outbox_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT id INTO dead_letter_id FROM public.fhir_dlq WHERE outbox_id = event.id AND resolved_at IS NULL;
  IF dead_letter_id IS NULL THEN
    SELECT * INTO source FROM public.fhir_source AS s
    WHERE s.table_name = CASE WHEN event.table_name = 'patient_other_identifiers' THEN 'patient' ELSE event.table_name END;
    INSERT INTO public.fhir_dlq (
      outbox_id, txid, table_name, record_id, operation, payload_json, error_text, attempts,
      first_failed_at, last_failed_at,
      source_table, source_id, resource_type, patient_id, patient_revision, http_status, operation_outcome
    ) VALUES (
      event.id, event.txid, event.table_name, event.record_id, event.operation, event.payload_json,
      fhir_move_outbox_to_dlq.error_text, coalesce(fhir_move_outbox_to_dlq.attempts, event.attempts), clock_timestamp(), clock_timestamp(),
      source.table_name,
      coalesce(fhir_move_outbox_to_dlq.source_id,
               CASE WHEN source.table_name = 'patient' THEN event.patient_id
                    WHEN source.table_name IS NOT NULL THEN event.record_id END),
      coalesce(fhir_move_outbox_to_dlq.resource_type, source.resource_type), event.patient_id, event.patient_revision, fhir_move_outbox_to_dlq.http_status,
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

-- As before, of any table: one event a row. Says of each id what became of it: replayed, resolved (before), no row, not found.
CREATE OR REPLACE FUNCTION public.fhir_replay_dead_letters(ids bigint[], reason text)
RETURNS TABLE (dead_letter_id bigint, result text, patient_id integer, outbox_id bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
#variable_conflict use_column
DECLARE
  source record;
  event bigint;
  replayed bigint[] := '{}';
  marked bigint[];
BEGIN
  -- First all rows' numbers, in the order in which triggers take them: a second replay of the same dead letters waits here and
  -- then finds them resolved. What waits here for an application's transaction holds no dead letter locked, which the
  -- connector would have to wait for.
  PERFORM FROM public.fhir_patient_revision AS r
  WHERE r.patient_id IN (SELECT q.source_id FROM public.fhir_dlq AS q
                         WHERE q.id = ANY (ids) AND q.resolved_at IS NULL AND q.source_table = 'patient')
  ORDER BY r.patient_id FOR UPDATE;
  PERFORM FROM public.fhir_record_revision AS r
  WHERE (r.table_name, r.record_id) IN (SELECT q.source_table, q.source_id FROM public.fhir_dlq AS q
                                        WHERE q.id = ANY (ids) AND q.resolved_at IS NULL AND q.source_table <> 'patient')
  ORDER BY r.table_name, r.record_id FOR UPDATE;
  FOR source IN
    SELECT DISTINCT q.source_table, q.source_id FROM public.fhir_dlq AS q
    WHERE q.id = ANY (ids) AND q.resolved_at IS NULL AND q.source_table IS NOT NULL AND q.source_id IS NOT NULL
    ORDER BY q.source_table, q.source_id
  LOOP
    PERFORM public.fhir_emit(source.source_table, ARRAY[source.source_id::integer]);
    event := currval('public.fhir_outbox_id_seq');
    WITH mark AS (
      UPDATE public.fhir_dlq AS q
      SET resolved_at = clock_timestamp(), resolution = 'replayed', resolution_reason = reason,
          resolved_by = session_user, replay_outbox_id = event
      WHERE q.id = ANY (ids) AND q.resolved_at IS NULL AND q.source_table = source.source_table AND q.source_id = source.source_id
      RETURNING q.id
    )
    SELECT coalesce(array_agg(mark.id), '{}') INTO marked FROM mark;
    replayed := replayed || marked;
  END LOOP;
  RETURN QUERY
    SELECT asked.id,
           CASE WHEN q.id IS NULL THEN 'not found' WHEN q.id = ANY (replayed) THEN 'replayed'
                WHEN q.resolved_at IS NOT NULL THEN 'resolved' ELSE 'no row' END,
           q.patient_id, CASE WHEN q.id = ANY (replayed) THEN q.replay_outbox_id END
    FROM unnest(ids) WITH ORDINALITY AS asked (id, position) LEFT JOIN public.fhir_dlq AS q ON q.id = asked.id
    ORDER BY asked.position;
END
$$;

-- Sends what waited for a resource that is there now: looks at the dead letters behind `after`, `most` at most, and returns the
-- last one that it looked at (NULL: none is left) and how many it replayed.
--
-- A row that another transaction is changing is waited for for 200 ms: less than deadlock_timeout, so that of two that wait for each
-- other it is never the application that is given up. It is left for another time, as is whatever else fails: nobody else waits for it.
CREATE OR REPLACE FUNCTION public.fhir_replay_waiting(after bigint, most integer, OUT last_id bigint, OUT replayed integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET lock_timeout = '200ms' AS $$
DECLARE
  waiting record;
BEGIN
  replayed := 0;
  FOR waiting IN
    SELECT q.id FROM public.fhir_dlq AS q
    JOIN public.fhir_link AS l ON l.source_table = q.waits_for_table AND l.source_id = q.waits_for_id
     AND l.fhir_id IS NOT NULL AND l.deleted_at IS NULL
    WHERE q.resolved_at IS NULL AND q.waits_for_table IS NOT NULL AND q.id > fhir_replay_waiting.after
    ORDER BY q.id LIMIT most
  LOOP
    last_id := waiting.id;
    BEGIN
      PERFORM public.fhir_replay_dead_letters(ARRAY[waiting.id], 'what it refers to is on the FHIR server now');
      replayed := replayed + 1;
    EXCEPTION
      -- What is held already is let go of at once.
      WHEN lock_not_available OR deadlock_detected THEN EXIT;
      WHEN OTHERS THEN RAISE DEBUG 'Dead letter % could not be replayed (SQLSTATE %)', waiting.id, SQLSTATE;
    END;
  END LOOP;
END
$$;

-- One backfill a table.
ALTER TABLE public.fhir_backfill ADD COLUMN IF NOT EXISTS source_table text NOT NULL DEFAULT 'patient';
ALTER TABLE public.fhir_backfill ALTER COLUMN source_table DROP DEFAULT;
ALTER TABLE public.fhir_backfill DROP CONSTRAINT IF EXISTS fhir_backfill_pkey;
ALTER TABLE public.fhir_backfill ADD PRIMARY KEY (source_table);
ALTER TABLE public.fhir_backfill DROP COLUMN IF EXISTS resource_type;

-- Only the tables of fhir_source are read, whoever asks.
CREATE OR REPLACE FUNCTION public.fhir_check_source(source_table text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM public.fhir_source AS s WHERE s.table_name = source_table) THEN
    RAISE EXCEPTION 'public.fhir_source does not have the table %', source_table USING ERRCODE = 'invalid_parameter_value';
  END IF;
END
$$;

-- Returns the backfills of these tables that are under way, which another start goes on with; otherwise, or with `restart`,
-- begins them, all at once: what is in one table later, its triggers saw.
DROP FUNCTION IF EXISTS public.fhir_backfill_start(boolean, boolean);
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
    INSERT INTO public.fhir_backfill (source_table, everyone, position, upper_bound)
    VALUES (source, fhir_backfill_start.everyone, coalesce(lowest, 1) - 1, coalesce(highest, 0))
    ON CONFLICT ON CONSTRAINT fhir_backfill_pkey DO UPDATE
      SET everyone = excluded.everyone, position = excluded.position, upper_bound = excluded.upper_bound, emitted = 0,
          started_at = now(), updated_at = now(), finished_at = NULL;
  END LOOP;
  RETURN QUERY SELECT * FROM public.fhir_backfill AS b WHERE b.source_table = ANY (source_tables)
    ORDER BY array_position(source_tables, b.source_table);
END
$$;

-- Emits the next rows, `chunk` at most, and moves the position on; finished_at is set with the last of them.
--
-- A row that another transaction is changing is waited for for 200 ms: less than deadlock_timeout, so that of two
-- that wait for each other it is never the application that is given up. The caller repeats.
DROP FUNCTION IF EXISTS public.fhir_backfill_step(integer);
CREATE OR REPLACE FUNCTION public.fhir_backfill_step(source_table text, chunk integer) RETURNS public.fhir_backfill
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET lock_timeout = '200ms'
-- By index, though there may be no statistics of the links yet.
SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  run public.fhir_backfill;
  due integer[];
  reached bigint;
  more boolean;
BEGIN
  PERFORM public.fhir_check_source(fhir_backfill_step.source_table);
  SELECT * INTO run FROM public.fhir_backfill AS b
  WHERE b.source_table = fhir_backfill_step.source_table AND b.finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'No backfill of % is under way: fhir_backfill_start() begins one', fhir_backfill_step.source_table
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  -- Many are looked at for the few that are due, or a second backfill of a large table would take as long as the first.
  EXECUTE format($statement$
    WITH next AS MATERIALIZED (
      SELECT t.id FROM public.%I AS t WHERE t.id > $2 AND t.id <= $3 ORDER BY t.id LIMIT 10 * $4
    ), under_way AS MATERIALIZED (
      SELECT DISTINCT w.id FROM public.fhir_under_way($1) AS w (id)
    ), tried AS MATERIALIZED (
      -- A person's to decide, or decided and not changed since.
      SELECT d.source_id AS id FROM public.fhir_dlq AS d
      WHERE d.source_table = $1
        AND (d.resolved_at IS NULL
             OR d.resolution = 'discarded' AND d.patient_revision = public.fhir_revision($1, d.source_id))
    ), wanted AS MATERIALIZED (
      SELECT n.id FROM next AS n
      WHERE $5 OR NOT (
        EXISTS (SELECT FROM public.fhir_link AS l WHERE l.source_table = $1 AND l.source_id = n.id
                AND l.fhir_id IS NOT NULL AND l.deleted_at IS NULL)
        OR EXISTS (SELECT FROM under_way AS u WHERE u.id = n.id)
        OR EXISTS (SELECT FROM tried AS t WHERE t.id = n.id))
      ORDER BY n.id LIMIT $4
    )
    SELECT array_agg(w.id),
           CASE WHEN count(*) = $4 THEN max(w.id) ELSE coalesce((SELECT max(n.id) FROM next AS n), $3) END
    FROM wanted AS w $statement$, run.source_table)
  INTO due, reached
  USING run.source_table, run.position, run.upper_bound, chunk, run.everyone;
  EXECUTE format('SELECT EXISTS (SELECT FROM public.%I AS t WHERE t.id > $1 AND t.id <= $2)', run.source_table)
  INTO more USING reached, run.upper_bound;
  UPDATE public.fhir_backfill AS b
  SET position = reached,
      emitted = run.emitted + CASE WHEN due IS NULL THEN 0 ELSE public.fhir_emit(run.source_table, due) END,
      updated_at = clock_timestamp(),
      finished_at = CASE WHEN reached >= run.upper_bound OR NOT more THEN clock_timestamp() END
  WHERE b.source_table = run.source_table
  RETURNING * INTO run;
  RETURN run;
END
$$;

-- The ids of the table's rows of which events are not processed yet.
CREATE OR REPLACE FUNCTION public.fhir_under_way(source_table text) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
  SELECT CASE WHEN source_table = 'patient' THEN o.patient_id ELSE o.record_id END
  FROM public.fhir_outbox AS o
  WHERE NOT o.processed
    AND (o.table_name = source_table OR source_table = 'patient' AND o.table_name = 'patient_other_identifiers')
$$;

-- How many rows there are, how many of them have a resource, and the systems of their primary identifiers ('' for
-- none).
DROP FUNCTION IF EXISTS public.fhir_verify_overview();
CREATE OR REPLACE FUNCTION public.fhir_verify_overview(
  source_table text, OUT rows bigint, OUT linked bigint, OUT highest_id bigint, OUT systems text[]
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
  PERFORM public.fhir_check_source(source_table);
  EXECUTE format('SELECT count(*), max(id) FROM public.%I', source_table) INTO rows, highest_id;
  SELECT count(*) FILTER (WHERE l.fhir_id IS NOT NULL AND l.deleted_at IS NULL), greatest(max(l.source_id), highest_id)
  INTO linked, highest_id
  FROM public.fhir_link AS l WHERE l.source_table = fhir_verify_overview.source_table;
  IF source_table = 'patient' THEN
    systems := (SELECT array_agg(DISTINCT coalesce(btrim(p.identifier_system), '')) FROM public.patient AS p
                WHERE btrim(p.identifier_value) <> '');
  ELSE
    systems := ARRAY[public.fhir_own_uri()];
  END IF;
END
$$;

-- The ids after `after`, in order, that are to be compared: of rows, and of links whose row is gone.
DROP FUNCTION IF EXISTS public.fhir_verify_sources(bigint, integer);
CREATE OR REPLACE FUNCTION public.fhir_verify_sources(source_table text, after bigint, size integer) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
  PERFORM public.fhir_check_source(source_table);
  RETURN QUERY EXECUTE format($statement$
    SELECT source.id
    FROM (
      (SELECT t.id::bigint FROM public.%I AS t WHERE t.id > $2 ORDER BY t.id LIMIT $3)
      UNION
      (SELECT l.source_id FROM public.fhir_link AS l
       WHERE l.source_table = $1 AND l.fhir_id IS NOT NULL AND l.source_id > $2 ORDER BY l.source_id LIMIT $3)
    ) AS source (id)
    ORDER BY source.id LIMIT $3 $statement$, source_table)
  USING source_table, after, size;
END
$$;

-- As many of them at random; the same ones for the same seed.
DROP FUNCTION IF EXISTS public.fhir_verify_sample(integer, bigint);
CREATE OR REPLACE FUNCTION public.fhir_verify_sample(source_table text, size integer, seed bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
  PERFORM public.fhir_check_source(source_table);
  RETURN QUERY EXECUTE format($statement$
    SELECT source.id
    FROM (
      SELECT t.id::bigint FROM public.%I AS t
      UNION
      SELECT l.source_id FROM public.fhir_link AS l WHERE l.source_table = $1 AND l.fhir_id IS NOT NULL
    ) AS source (id)
    ORDER BY hashint8extended(source.id, $3), source.id LIMIT $2 $statement$, source_table)
  USING source_table, size, seed;
END
$$;

-- What the database knows of each, as of one moment: the row as an event would carry it (NULL when it is gone), its
-- link, and what keeps it from being compared.
DROP FUNCTION IF EXISTS public.fhir_verify_read(bigint[]);
CREATE OR REPLACE FUNCTION public.fhir_verify_read(source_table text, ids bigint[]) RETURNS TABLE (
  source_id bigint, payload jsonb, revision bigint, fhir_id text, version_id text, deleted boolean,
  on_its_way boolean, dead_lettered boolean
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off AS $$
BEGIN
  PERFORM public.fhir_check_source(source_table);
  RETURN QUERY EXECUTE format($statement$
    -- Read once, not for each row: beside the unprocessed rows their index may hold many that are not any more.
    WITH under_way AS MATERIALIZED (
      SELECT DISTINCT w.id FROM public.fhir_under_way($1) AS w (id) WHERE w.id = ANY ($2)
    ), letters AS MATERIALIZED (
      SELECT d.source_id AS id, d.resolved_at, d.patient_revision
      FROM public.fhir_dlq AS d
      WHERE d.source_table = $1 AND d.source_id = ANY ($2) AND (d.resolved_at IS NULL OR d.resolution = 'discarded')
    ), wanted AS MATERIALIZED (
      SELECT w.id, public.fhir_revision($1, w.id) AS revision FROM unnest($2) AS w (id)
    )
    SELECT
      wanted.id,
      CASE WHEN source_row.id IS NOT NULL THEN to_jsonb(source_row.*) || %2$s END,
      coalesce(wanted.revision, 0),
      l.fhir_id,
      l.version_id,
      l.deleted_at IS NOT NULL,
      EXISTS (SELECT FROM under_way AS u WHERE u.id = wanted.id),
      -- What was discarded is decided as long as nothing has changed since.
      EXISTS (SELECT FROM letters AS d
              WHERE d.id = wanted.id AND (d.resolved_at IS NULL OR d.patient_revision = wanted.revision))
    FROM wanted
    LEFT JOIN public.%1$I AS source_row ON source_row.id = wanted.id
    LEFT JOIN public.fhir_link AS l ON l.source_table = $1 AND l.source_id = wanted.id $statement$,
    source_table,
    CASE WHEN source_table = 'patient' THEN $part$ jsonb_build_object('other_identifiers',
           (SELECT others.listed FROM public.fhir_other_identifiers(source_row.id, false, '{}') AS others)) $part$
         ELSE 'public.fhir_own_identifier($3, $1, source_row.id)' END)
  USING source_table, ids, public.fhir_own_uri();
END
$$;

-- As before, by the links' key: of Patients on the FHIR server, [{id, identifiers: [{system, value}]}], those that no link names: with the patient
-- whose primary identifier they carry, if there is one, and whether that one has another resource.
CREATE OR REPLACE FUNCTION public.fhir_verify_unlinked(resources jsonb) RETURNS TABLE (
  fhir_id text, source_id bigint, linked boolean
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  unlinked jsonb;
BEGIN
  SELECT jsonb_agg(found.resource) INTO unlinked
  FROM jsonb_array_elements(resources) AS found (resource)
  WHERE NOT EXISTS (SELECT FROM public.fhir_link AS known
                    WHERE known.resource_type = 'Patient' AND known.fhir_id = found.resource ->> 'id');
  -- As a rule there are none, and the patients need not be looked at.
  IF unlinked IS NULL THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT found.id, min(owner.id), coalesce(bool_or(l.fhir_id IS NOT NULL AND l.deleted_at IS NULL), false)
  FROM jsonb_to_recordset(unlinked) AS found (id text, identifiers jsonb)
  CROSS JOIN LATERAL jsonb_to_recordset(found.identifiers) AS token (system text, value text)
  LEFT JOIN LATERAL (
    SELECT p.id::bigint FROM public.patient AS p
    WHERE p.identifier_value = token.value AND p.identifier_system = token.system
    UNION ALL
    SELECT p.id FROM public.patient AS p
    WHERE token.system = '' AND p.identifier_value = token.value AND coalesce(p.identifier_system, '') = ''
    UNION ALL
    -- White space around an identifier is removed before it is sent, so it is not found by equality.
    SELECT i.source_id FROM public.fhir_link_identifier AS i JOIN public.patient AS p ON p.id = i.source_id
    WHERE i.resource_type = 'Patient' AND i.system = token.system AND i.value = token.value
      AND btrim(p.identifier_value) = token.value AND coalesce(btrim(p.identifier_system), '') = token.system
  ) AS owner (id) ON true
  LEFT JOIN public.fhir_link AS l ON l.source_table = 'patient' AND l.source_id = owner.id
  GROUP BY found.id;
END
$$;

-- Of resources on the FHIR server, [{id, identifiers: [{system, value}]}], those that no link names: with the row whose
-- identifier they carry, if there is one, and whether that one has another resource.
CREATE OR REPLACE FUNCTION public.fhir_verify_unlinked_records(source_table text, resources jsonb) RETURNS TABLE (
  fhir_id text, source_id bigint, linked boolean
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
#variable_conflict use_variable
BEGIN
  PERFORM public.fhir_check_source(source_table);
  RETURN QUERY EXECUTE format($statement$
    SELECT found.id, min(source_row.id)::bigint, coalesce(bool_or(l.fhir_id IS NOT NULL AND l.deleted_at IS NULL), false)
    FROM jsonb_to_recordset($2) AS found (id text, identifiers jsonb)
    CROSS JOIN LATERAL jsonb_to_recordset(found.identifiers) AS token (system text, value text)
    LEFT JOIN public.%I AS source_row
      ON source_row.id = CASE WHEN split_part(token.value, '/', 2) ~ '^-?[0-9]{1,10}$' THEN split_part(token.value, '/', 2)::bigint END
    LEFT JOIN public.fhir_link AS l ON l.source_table = $1 AND l.source_id = source_row.id
    WHERE token.system = $3 AND split_part(token.value, '/', 1) = $1
      AND NOT EXISTS (SELECT FROM public.fhir_link AS known JOIN public.fhir_source AS s ON s.table_name = $1
                      WHERE known.resource_type = s.resource_type AND known.fhir_id = found.id)
    GROUP BY found.id $statement$, source_table)
  USING source_table, resources, public.fhir_own_uri();
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint),
  public.fhir_replay_dead_letters(bigint[], text), public.fhir_replay_waiting(bigint, integer), public.fhir_check_source(text),
  public.fhir_backfill_start(text[], boolean, boolean), public.fhir_backfill_step(text, integer), public.fhir_under_way(text),
  public.fhir_verify_overview(text), public.fhir_verify_sources(text, bigint, integer),
  public.fhir_verify_sample(text, integer, bigint), public.fhir_verify_read(text, bigint[]),
  public.fhir_verify_unlinked_records(text, jsonb) FROM PUBLIC;

-- What the functions that stay their earlier owner's read and call, and what is written in its name, is that owner's too, whichever
-- role runs this.
DO $$
DECLARE
  owner text := (SELECT relowner::regrole FROM pg_catalog.pg_class WHERE oid = 'public.fhir_outbox'::regclass);
  object text;
BEGIN
  IF owner = quote_ident(current_user) THEN
    RETURN;
  END IF;
  FOREACH object IN ARRAY ARRAY['fhir_source', 'fhir_own_system', 'fhir_record_revision'] LOOP
    EXECUTE format('ALTER TABLE public.%I OWNER TO %s', object, owner);
  END LOOP;
  FOR object IN
    SELECT oid::regprocedure::text FROM pg_catalog.pg_proc
    WHERE pronamespace = 'public'::regnamespace AND proowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND proname ~ '^fhir_(record_|own_|write_record|revision|emit$|replay_waiting|check_source|backfill_|under_way|verify_)'
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %s', object, owner);
  END LOOP;
END
$$;

DELETE FROM public.fhir_role_right WHERE granted ~ 'fhir_backfill_start|fhir_verify_(overview|sources|sample|read)';
INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  ('fhir_connector', 'SELECT ON public.fhir_source, public.fhir_record_revision'),
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_emit(text, integer[]), public.fhir_replay_waiting(bigint, integer)'),
  ('fhir_operator', 'SELECT ON public.fhir_source, public.fhir_record_revision'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_emit(text, integer[])'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_backfill_start(text[], boolean, boolean), public.fhir_backfill_step(text, integer)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_verify_overview(text), public.fhir_verify_sources(text, bigint, integer), public.fhir_verify_sample(text, integer, bigint)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_verify_read(text, bigint[]), public.fhir_verify_unlinked(jsonb), public.fhir_verify_unlinked_records(text, jsonb)')
ON CONFLICT DO NOTHING;
SELECT public.fhir_grant_roles();
