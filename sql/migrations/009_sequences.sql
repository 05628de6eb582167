-- A database that was copied without its sequences, as logical replication copies it, counts from 1 again: the triggers'
-- rows would meet ids that are taken (and the application's changes fail), or get lower ids than rows that are older.

-- Moves the sequences of the connector's tables past the ids that these hold, never back; returns the tables whose
-- sequence was behind. migrate calls it each time, and the connector before each catch-up.
CREATE OR REPLACE FUNCTION public.fhir_align_sequences() RETURNS text[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
  numbered record;
  highest bigint;
  given bigint;
  behind text[] := '{}';
BEGIN
  -- Two at a time could move a sequence back that has gone on meanwhile.
  PERFORM pg_advisory_xact_lock(hashtext('fhir_align_sequences'));
  FOR numbered IN
    SELECT c.relname AS name, pg_get_serial_sequence(format('public.%I', c.relname), 'id') AS sequence
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'id' AND NOT a.attisdropped
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'fhir\_%'
    ORDER BY c.relname
  LOOP
    CONTINUE WHEN numbered.sequence IS NULL;
    EXECUTE format('SELECT max(id) FROM public.%I', numbered.name) INTO highest;
    EXECUTE format('SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM %s', numbered.sequence) INTO given;
    IF highest > given THEN
      PERFORM setval(numbered.sequence, highest);
      behind := behind || numbered.name::text;
    END IF;
  END LOOP;
  RETURN behind;
END
$$;
REVOKE EXECUTE ON FUNCTION public.fhir_align_sequences() FROM PUBLIC;

INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  ('fhir_connector', 'EXECUTE ON FUNCTION public.fhir_align_sequences()')
ON CONFLICT DO NOTHING;
SELECT public.fhir_grant_roles();
