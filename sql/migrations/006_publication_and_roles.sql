-- The publication, and the rights of the application, the connector and its operator as roles without login.

DO $$
BEGIN
  PERFORM public.fhir_ensure_publication('fhir_outbox_pub');
EXCEPTION
  WHEN insufficient_privilege THEN
    RAISE WARNING 'The publication was not made: % may not create one in this database. Have an administrator run: '
      'GRANT CREATE ON DATABASE % TO %; and then, before the connector starts: '
      'SELECT public.fhir_ensure_publication(''fhir_outbox_pub'');',
      current_user, quote_ident(current_database()), quote_ident(current_user);
END
$$;

-- Gives each role that exists what it needs, and no more. Logins are made outside: CREATE ROLE … LOGIN IN ROLE
-- fhir_connector. The connector's login also needs REPLICATION, an attribute that membership does not pass on.
CREATE OR REPLACE FUNCTION public.fhir_grant_roles() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  table_name text;
  sequence_name text;
BEGIN
  IF to_regrole('fhir_app') IS NOT NULL THEN
    -- Not TRUNCATE, which removes patients without a WHERE clause.
    GRANT SELECT, INSERT, UPDATE, DELETE ON public.patient, public.patient_other_identifiers, public.form,
      public.blood_pressure, public.pulse TO fhir_app;
    -- Looked up: in an existing schema they may have other names, or be none (identity columns need no right).
    FOREACH table_name IN ARRAY ARRAY['patient', 'patient_other_identifiers', 'form', 'blood_pressure', 'pulse'] LOOP
      sequence_name := pg_get_serial_sequence(format('public.%I', table_name), 'id');
      IF sequence_name IS NOT NULL THEN
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO fhir_app', sequence_name);
      END IF;
    END LOOP;
  END IF;
  IF to_regrole('fhir_connector') IS NOT NULL THEN
    GRANT SELECT ON public.patient, public.patient_other_identifiers, public.form, public.blood_pressure, public.pulse,
      public.fhir_patient_revision, public.fhir_schema_migration, public.vw_fhir_pending_txids TO fhir_connector;
    GRANT SELECT, UPDATE ON public.fhir_outbox TO fhir_connector;
    GRANT SELECT, INSERT, UPDATE ON public.fhir_dlq, public.fhir_link, public.fhir_slot TO fhir_connector;
    GRANT SELECT, INSERT ON public.fhir_processed_event TO fhir_connector;
    GRANT SELECT, INSERT, UPDATE, DELETE ON public.fhir_link_identifier TO fhir_connector;
    GRANT USAGE ON SEQUENCE public.fhir_dlq_id_seq, public.fhir_processed_event_id_seq TO fhir_connector;
    GRANT EXECUTE ON FUNCTION public.fhir_emit_patient(integer), public.fhir_mark_event_processed(text),
      public.fhir_cleanup_old(integer), public.fhir_ensure_publication(text),
      public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint) TO fhir_connector;
  END IF;
  IF to_regrole('fhir_operator') IS NOT NULL THEN
    GRANT SELECT ON public.fhir_outbox, public.fhir_dlq, public.fhir_processed_event, public.fhir_link,
      public.fhir_link_identifier, public.fhir_slot, public.fhir_patient_revision, public.fhir_schema_migration,
      public.vw_fhir_pending_txids TO fhir_operator;
    GRANT UPDATE (resolved_at, resolution, resolution_reason) ON public.fhir_dlq TO fhir_operator;
    GRANT EXECUTE ON FUNCTION public.fhir_emit_patient(integer), public.fhir_cleanup_old(integer),
      public.fhir_move_outbox_to_dlq(bigint, text, integer, jsonb, integer, text, bigint) TO fhir_operator;
  END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION public.fhir_grant_roles() FROM PUBLIC;

DO $$
DECLARE
  role_name text;
  missing text[] := '{}';
BEGIN
  FOREACH role_name IN ARRAY ARRAY['fhir_app', 'fhir_connector', 'fhir_operator'] LOOP
    IF to_regrole(role_name) IS NULL THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
      EXCEPTION
        WHEN insufficient_privilege THEN
          missing := missing || format('CREATE ROLE %I NOLOGIN;', role_name);
        -- Roles belong to the whole cluster: another database's migration may just have made it.
        WHEN duplicate_object OR unique_violation THEN
          NULL;
      END;
    END IF;
  END LOOP;
  PERFORM public.fhir_grant_roles();
  IF cardinality(missing) > 0 THEN
    RAISE WARNING '% may not create roles. To have them, an administrator runs: % and then the owner of these tables: '
      'SELECT public.fhir_grant_roles();', current_user, array_to_string(missing, ' ');
  END IF;
END
$$;
