-- The slot hands out what the connector reads of an event, and nothing else: each column more is text that PostgreSQL writes and
-- the connector takes apart, for every event. https://www.postgresql.org/docs/current/logical-replication-col-lists.html

CREATE OR REPLACE FUNCTION public.fhir_ensure_publication(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  columns constant text := '(id, txid, table_name, record_id, operation, payload_json, patient_id, patient_revision, '
    'previous_identifiers, attempts, traceparent)';
  publication pg_publication;
BEGIN
  SELECT * INTO publication FROM pg_publication WHERE pubname = name;
  IF FOUND THEN
    -- Made by an earlier version of this function, with all columns. What others made is theirs.
    IF pg_has_role(publication.pubowner, 'USAGE') AND NOT publication.puballtables
       AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'public.fhir_outbox'::regclass), 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_publication_namespace WHERE pnpubid = publication.oid)
       AND (SELECT array_agg(ROW(r.prrelid, r.prattrs::text, r.prqual::text)) FROM pg_publication_rel AS r
            WHERE r.prpubid = publication.oid) = ARRAY[ROW('public.fhir_outbox'::regclass::oid, NULL::text, NULL::text)] THEN
      EXECUTE format('ALTER PUBLICATION %I SET TABLE public.fhir_outbox %s', name, columns);
    END IF;
    RETURN false;
  END IF;
  -- Inserts only: the connector's own updates and the cleanup's deletes need not travel.
  EXECUTE format('CREATE PUBLICATION %I FOR TABLE public.fhir_outbox %s WITH (publish = %L)', name, columns, 'insert');
  RETURN true;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN
    RETURN false;
END
$$;

SELECT public.fhir_ensure_publication('fhir_outbox_pub') FROM pg_publication WHERE pubname = 'fhir_outbox_pub';
