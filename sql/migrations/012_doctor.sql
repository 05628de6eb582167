-- For `doctor`: is the sequence of the outbox behind its rows?
INSERT INTO public.fhir_role_right (role_name, granted) VALUES
  ('fhir_connector', 'SELECT ON SEQUENCE public.fhir_outbox_id_seq')
ON CONFLICT DO NOTHING;
SELECT public.fhir_grant_roles();
