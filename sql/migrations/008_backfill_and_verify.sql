-- What `backfill` and `verify` call, so that neither needs a right on the patients' tables, and what they remember.

-- The one backfill that is under way, or the last one. Each step moves it on in the transaction of its events, so a
-- process that is killed leaves neither a patient out nor a position that is not true.
CREATE TABLE IF NOT EXISTS public.fhir_backfill (
  resource_type text PRIMARY KEY,
  everyone boolean NOT NULL,                  -- false: only patients that never reached the FHIR server
  position bigint NOT NULL,                   -- patients up to this id are done
  upper_bound bigint NOT NULL,                -- the highest id at the start: what came later, the triggers saw
  emitted bigint NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);

-- One row a verification. The connector exports the newest of each scope.
CREATE TABLE IF NOT EXISTS public.fhir_verification (
  id bigserial PRIMARY KEY,
  scope text NOT NULL CHECK (scope IN ('all', 'sample')),
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT now(),
  checked bigint NOT NULL,                    -- patients compared
  undecided bigint NOT NULL,                  -- patients on their way all the time, or that could not be read
  drift jsonb NOT NULL,                       -- kind → how many are left
  repaired bigint NOT NULL                    -- how many were mended by it
);

-- Emits many patients, in id order and each once, as if they had just changed; returns how many. A patient that is gone
-- gives a delete with the payload {}.
--
-- Where the FHIR resource still carries other identifiers than the patient (their change fired no trigger, or became a
-- dead letter), the event says which: as fhir_emit_patient() did for one.
CREATE OR REPLACE FUNCTION public.fhir_emit_patients(ids integer[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
-- Planned as fhir_write_events() is, for the same reason.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  changes public.fhir_change[];
  emitted integer := 0;
BEGIN
  FOR changes IN
    SELECT array_agg(ROW(c.id, 'U', c.id, NULL, c.had)::public.fhir_change ORDER BY c.id)
    FROM (
      SELECT wanted.id, linked.had, (row_number() OVER (ORDER BY wanted.id) - 1) / 2000 AS part
      FROM (SELECT DISTINCT unnest(ids) AS id) AS wanted
      LEFT JOIN LATERAL (
        SELECT coalesce(jsonb_agg(jsonb_build_object('system', i.system, 'value', i.value, 'primary', false)), '[]') AS had,
               array_agg(i.system || ' ' || i.value ORDER BY i.system || ' ' || i.value COLLATE "C") AS tokens
        FROM public.fhir_link_identifier AS i
        WHERE i.resource_type = 'Patient' AND i.source_id = wanted.id
      ) AS linked ON linked.tokens IS DISTINCT FROM (
        SELECT array_agg(now.token ORDER BY now.token COLLATE "C")
        FROM (
          SELECT coalesce(btrim(p.identifier_system), '') || ' ' || btrim(p.identifier_value) AS token
          FROM public.patient AS p WHERE p.id = wanted.id AND btrim(p.identifier_value) <> ''
          UNION
          SELECT coalesce(btrim(o.identifier_system), '') || ' ' || btrim(o.identifier_value)
          FROM public.patient_other_identifiers AS o WHERE o.patient_id = wanted.id AND btrim(o.identifier_value) <> ''
        ) AS now
      )
    ) AS c
    GROUP BY c.part ORDER BY c.part
  LOOP
    PERFORM public.fhir_write_events('patient', changes);
    emitted := emitted + cardinality(changes);
  END LOOP;
  RETURN emitted;
END
$$;

-- As before, by the set.
CREATE OR REPLACE FUNCTION public.fhir_emit_patient(id integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
  PERFORM public.fhir_emit_patients(ARRAY[id]);
  RETURN currval('public.fhir_outbox_id_seq');
END
$$;

-- Returns the backfill that is under way, which another start goes on with; otherwise, or with `restart`, begins one.
CREATE OR REPLACE FUNCTION public.fhir_backfill_start(everyone boolean, restart boolean) RETURNS public.fhir_backfill
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  run public.fhir_backfill;
BEGIN
  SELECT * INTO run FROM public.fhir_backfill WHERE resource_type = 'Patient' AND finished_at IS NULL FOR UPDATE;
  IF FOUND AND NOT restart THEN
    RETURN run;
  END IF;
  INSERT INTO public.fhir_backfill (resource_type, everyone, position, upper_bound)
  SELECT 'Patient', fhir_backfill_start.everyone, coalesce(min(p.id), 1)::bigint - 1, coalesce(max(p.id), 0) FROM public.patient AS p
  ON CONFLICT (resource_type) DO UPDATE
    SET everyone = excluded.everyone, position = excluded.position, upper_bound = excluded.upper_bound, emitted = 0,
        started_at = now(), updated_at = now(), finished_at = NULL
  RETURNING * INTO run;
  RETURN run;
END
$$;

-- Emits the next patients, `chunk` at most, and moves the position on; finished_at is set with the last of them.
--
-- A patient that another transaction is changing is waited for for 200 ms: less than deadlock_timeout, so that of two
-- that wait for each other it is never the application that is given up. The caller repeats.
CREATE OR REPLACE FUNCTION public.fhir_backfill_step(chunk integer) RETURNS public.fhir_backfill
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET lock_timeout = '200ms'
-- By index, though the plan is made while the links are few.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  run public.fhir_backfill;
  due integer[];
  reached bigint;
BEGIN
  SELECT * INTO run FROM public.fhir_backfill WHERE resource_type = 'Patient' AND finished_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'No backfill is under way: fhir_backfill_start() begins one'
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  -- Many are looked at for the few that are due, or a second backfill of a large table would take as long as the first.
  WITH next AS MATERIALIZED (
    SELECT p.id FROM public.patient AS p WHERE p.id > run.position AND p.id <= run.upper_bound
    ORDER BY p.id LIMIT 10 * chunk
  ), under_way AS MATERIALIZED (
    SELECT DISTINCT o.patient_id AS id FROM public.fhir_outbox AS o WHERE NOT o.processed
  ), tried AS MATERIALIZED (
    -- A person's to decide, or decided and not changed since.
    SELECT d.source_id AS id
    FROM public.fhir_dlq AS d LEFT JOIN public.fhir_patient_revision AS r ON r.patient_id = d.source_id
    WHERE d.resource_type = 'Patient'
      AND (d.resolved_at IS NULL OR d.resolution = 'discarded' AND d.patient_revision = r.revision)
  ), wanted AS MATERIALIZED (
    SELECT n.id FROM next AS n
    WHERE run.everyone OR NOT (
      EXISTS (SELECT FROM public.fhir_link AS l WHERE l.resource_type = 'Patient' AND l.source_id = n.id
              AND l.fhir_id IS NOT NULL AND l.deleted_at IS NULL)
      OR EXISTS (SELECT FROM under_way AS u WHERE u.id = n.id)
      OR EXISTS (SELECT FROM tried AS t WHERE t.id = n.id))
    ORDER BY n.id LIMIT chunk
  )
  SELECT array_agg(w.id),
         CASE WHEN count(*) = chunk THEN max(w.id) ELSE coalesce((SELECT max(n.id) FROM next AS n), run.upper_bound) END
  INTO due, reached
  FROM wanted AS w;
  UPDATE public.fhir_backfill
  SET position = reached,
      emitted = run.emitted + CASE WHEN due IS NULL THEN 0 ELSE public.fhir_emit_patients(due) END,
      updated_at = clock_timestamp(),
      finished_at = CASE WHEN reached >= run.upper_bound
                           OR NOT EXISTS (SELECT FROM public.patient AS p WHERE p.id > reached AND p.id <= run.upper_bound)
                         THEN clock_timestamp() END
  WHERE resource_type = 'Patient'
  RETURNING * INTO run;
  RETURN run;
END
$$;

-- How many patients there are, how many of them have a resource, and the systems of their primary identifiers ('' for
-- none).
CREATE OR REPLACE FUNCTION public.fhir_verify_overview(
  OUT patients bigint, OUT linked bigint, OUT highest_id bigint, OUT systems text[]
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
  SELECT (SELECT count(*) FROM public.patient),
         (SELECT count(*) FROM public.fhir_link AS l
          WHERE l.resource_type = 'Patient' AND l.fhir_id IS NOT NULL AND l.deleted_at IS NULL),
         greatest((SELECT max(p.id) FROM public.patient AS p),
                  (SELECT max(l.source_id) FROM public.fhir_link AS l WHERE l.resource_type = 'Patient')),
         (SELECT array_agg(DISTINCT coalesce(btrim(p.identifier_system), '')) FROM public.patient AS p
          WHERE btrim(p.identifier_value) <> '');
$$;

-- The ids after `after`, in order, that are to be compared: of patients, and of links whose patient is gone.
CREATE OR REPLACE FUNCTION public.fhir_verify_sources(after bigint, size integer) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
  SELECT source.id
  FROM (
    (SELECT p.id::bigint FROM public.patient AS p
     WHERE p.id > fhir_verify_sources.after ORDER BY p.id LIMIT fhir_verify_sources.size)
    UNION
    (SELECT l.source_id FROM public.fhir_link AS l
     WHERE l.resource_type = 'Patient' AND l.fhir_id IS NOT NULL AND l.source_id > fhir_verify_sources.after
     ORDER BY l.source_id LIMIT fhir_verify_sources.size)
  ) AS source (id)
  ORDER BY source.id LIMIT fhir_verify_sources.size;
$$;

-- As many of them at random; the same ones for the same seed.
CREATE OR REPLACE FUNCTION public.fhir_verify_sample(size integer, seed bigint) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
AS $$
  SELECT source.id
  FROM (
    SELECT p.id::bigint FROM public.patient AS p
    UNION
    SELECT l.source_id FROM public.fhir_link AS l WHERE l.resource_type = 'Patient' AND l.fhir_id IS NOT NULL
  ) AS source (id)
  ORDER BY hashint8extended(source.id, fhir_verify_sample.seed), source.id LIMIT fhir_verify_sample.size;
$$;

-- What the database knows of each, as of one moment: the patient as an event would carry it (NULL when it is gone), its
-- link, and what keeps it from being compared.
CREATE OR REPLACE FUNCTION public.fhir_verify_read(ids bigint[]) RETURNS TABLE (
  source_id bigint, payload jsonb, revision bigint, fhir_id text, version_id text, deleted boolean,
  on_its_way boolean, dead_lettered boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET enable_seqscan = off AS $$
  -- Read once, not for each patient: beside the unprocessed rows their index may hold many that are not any more.
  WITH under_way AS MATERIALIZED (
    SELECT DISTINCT o.patient_id AS id FROM public.fhir_outbox AS o
    WHERE NOT o.processed AND o.patient_id = ANY (fhir_verify_read.ids)
  ), letters AS MATERIALIZED (
    SELECT d.source_id AS id, d.resolved_at, d.patient_revision
    FROM public.fhir_dlq AS d
    WHERE d.resource_type = 'Patient' AND d.source_id = ANY (fhir_verify_read.ids)
      AND (d.resolved_at IS NULL OR d.resolution = 'discarded')
  )
  SELECT
    wanted.id,
    CASE WHEN p.id IS NOT NULL THEN to_jsonb(p.*) || jsonb_build_object('other_identifiers', (
      SELECT coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'identifier_system', o.identifier_system,
                                                   'identifier_value', o.identifier_value) ORDER BY o.id), '[]')
      FROM public.patient_other_identifiers AS o WHERE o.patient_id = p.id)) END,
    coalesce(r.revision, 0),
    l.fhir_id,
    l.version_id,
    l.deleted_at IS NOT NULL,
    EXISTS (SELECT FROM under_way AS u WHERE u.id = wanted.id),
    -- What was discarded is decided as long as nothing has changed since.
    EXISTS (SELECT FROM letters AS d WHERE d.id = wanted.id AND (d.resolved_at IS NULL OR d.patient_revision = r.revision))
  FROM unnest(fhir_verify_read.ids) AS wanted (id)
  LEFT JOIN public.patient AS p ON p.id = wanted.id
  LEFT JOIN public.fhir_patient_revision AS r ON r.patient_id = wanted.id
  LEFT JOIN public.fhir_link AS l ON l.resource_type = 'Patient' AND l.source_id = wanted.id;
$$;

-- Of resources on the FHIR server, [{id, identifiers: [{system, value}]}], those that no link names: with the patient
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
  LEFT JOIN public.fhir_link AS l ON l.resource_type = 'Patient' AND l.source_id = owner.id
  GROUP BY found.id;
END
$$;

REVOKE EXECUTE ON FUNCTION public.fhir_emit_patients(integer[]), public.fhir_emit_patient(integer),
  public.fhir_backfill_start(boolean, boolean), public.fhir_backfill_step(integer), public.fhir_verify_overview(),
  public.fhir_verify_sources(bigint, integer), public.fhir_verify_sample(integer, bigint),
  public.fhir_verify_read(bigint[]), public.fhir_verify_unlinked(jsonb) FROM PUBLIC;

INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  ('fhir_connector', 'SELECT ON public.fhir_verification'),
  ('fhir_operator', 'SELECT ON public.fhir_backfill, public.fhir_verification'),
  ('fhir_operator', 'INSERT ON public.fhir_verification'),
  ('fhir_operator', 'USAGE ON SEQUENCE public.fhir_verification_id_seq'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_emit_patients(integer[])'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_backfill_start(boolean, boolean), public.fhir_backfill_step(integer)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_verify_overview(), public.fhir_verify_sources(bigint, integer), public.fhir_verify_sample(integer, bigint)'),
  ('fhir_operator', 'EXECUTE ON FUNCTION public.fhir_verify_read(bigint[]), public.fhir_verify_unlinked(jsonb)')
ON CONFLICT DO NOTHING;
SELECT public.fhir_grant_roles();
