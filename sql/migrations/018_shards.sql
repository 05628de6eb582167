-- Several connectors on one outbox: each reads a publication of its own, which hands out every patient's rows to one of them.
-- https://www.postgresql.org/docs/current/logical-replication-row-filter.html

-- Makes the publication of the patients whose number leaves `index` when divided by `count` (1: of all), unless it is there;
-- returns whether it was made. A row that names no patient is the first shard's. src/shard.ts has the same arithmetic.
CREATE OR REPLACE FUNCTION public.fhir_ensure_publication(name text, count integer, index integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF count < 1 OR index < 0 OR index >= count THEN
    RAISE EXCEPTION 'There is no shard % of %', index, count USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF count = 1 THEN
    RETURN public.fhir_ensure_publication(name);
  END IF;
  IF EXISTS (SELECT FROM pg_publication WHERE pubname = name) THEN
    RETURN false;
  END IF;
  EXECUTE format(
    'CREATE PUBLICATION %I FOR TABLE public.fhir_outbox (id, txid, table_name, record_id, operation, payload_json, patient_id, '
    'patient_revision, previous_identifiers, attempts, traceparent) WHERE (abs(coalesce(patient_id, 0) %% %s) = %s) WITH (publish = %L)',
    name, count, index, 'insert');
  RETURN true;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    RETURN false;
END
$$;

-- Drops a publication of the outbox alone, which no slot may need any more; returns whether it was there. The caller's word for
-- it is enough: a slot without its publication is made anew, and what the outbox holds unprocessed is delivered first.
CREATE OR REPLACE FUNCTION public.fhir_drop_publication(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- One after the other: of two at a time the second one would fail.
  PERFORM pg_advisory_xact_lock(hashtext('fhir_drop_publication'));
  IF NOT EXISTS (
    SELECT FROM pg_publication AS p
    WHERE p.pubname = name AND NOT p.puballtables AND pg_has_role(p.pubowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_publication_namespace AS n WHERE n.pnpubid = p.oid)
      AND ARRAY['public.fhir_outbox'::regclass::oid] = ARRAY(SELECT r.prrelid FROM pg_publication_rel AS r WHERE r.prpubid = p.oid))
  THEN
    RETURN false;
  END IF;
  EXECUTE format('DROP PUBLICATION %I', name);
  RETURN true;
END
$$;

-- What a connector asks of the rows that another one has still to deliver: does a patient of its own give this identifier up?
-- (fastupdate would let one of many changes pay for all.) And has it an older state of this form or reading? Where the outbox is
-- large already, make them beforehand with CREATE INDEX CONCURRENTLY, which keeps no writer waiting: then they are there.
CREATE INDEX IF NOT EXISTS fhir_outbox_given_up_idx ON public.fhir_outbox USING gin (previous_identifiers jsonb_path_ops)
  WITH (fastupdate = off) WHERE NOT processed AND previous_identifiers <> '[]';
CREATE INDEX IF NOT EXISTS fhir_outbox_undelivered_record_idx ON public.fhir_outbox (table_name, record_id)
  WHERE NOT processed AND table_name NOT IN ('patient', 'patient_other_identifiers');

REVOKE EXECUTE ON FUNCTION public.fhir_ensure_publication(text, integer, integer), public.fhir_drop_publication(text) FROM PUBLIC;

-- They make and drop publications with the rights of whom the earlier one has.
DO $$
DECLARE
  owner text := (SELECT proowner::regrole FROM pg_catalog.pg_proc WHERE oid = 'public.fhir_ensure_publication(text)'::regprocedure);
BEGIN
  IF owner <> quote_ident(current_user) THEN
    EXECUTE format('ALTER FUNCTION public.fhir_ensure_publication(text, integer, integer) OWNER TO %s', owner);
    EXECUTE format('ALTER FUNCTION public.fhir_drop_publication(text) OWNER TO %s', owner);
  END IF;
END
$$;

INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_ensure_publication(text, integer, integer), public.fhir_drop_publication(text)')
ON CONFLICT DO NOTHING;
SELECT public.fhir_grant_roles();
