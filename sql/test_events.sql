-- One change of each kind, to watch the connector by hand: psql -f sql/test_events.sql, as often as you like, with the login of the
-- tables' owner. Its patients are its own (MRN-TEST-…) and are gone at the end; what it leaves are events, and one dead letter.

-- The changes are made with the rights of the application alone; this the owner's login must be allowed: GRANT fhir_app TO owner.
SET ROLE fhir_app;

SELECT 'What an earlier, interrupted run left is removed' AS step, pg_current_xact_id() AS txid;
DELETE FROM public.patient_other_identifiers
WHERE patient_id IN (SELECT id FROM public.patient WHERE identifier_system = 'https://hospital.example.com/test');
DELETE FROM public.patient WHERE identifier_system = 'https://hospital.example.com/test';

SELECT 'Insert a patient: a new FHIR Patient' AS step;
INSERT INTO public.patient (name_family, name_given, birth_date, gender, identifier_system, identifier_value, phone_number)
VALUES ('Test', 'Anna', '1991-02-03', 'female', 'https://hospital.example.com/test', 'MRN-TEST-1', '+1-555-000-0001');

SELECT 'Add another identifier: an update of the whole patient' AS step;
INSERT INTO public.patient_other_identifiers (patient_id, identifier_system, identifier_value)
SELECT id, 'https://insurance.example.com/member', 'INS-TEST-1' FROM public.patient
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1';

SELECT 'Update the phone number' AS step;
UPDATE public.patient SET phone_number = '+1-555-000-0002'
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1';

SELECT 'Change the other identifier' AS step;
UPDATE public.patient_other_identifiers SET identifier_value = 'INS-TEST-2'
WHERE identifier_system = 'https://insurance.example.com/member' AND identifier_value = 'INS-TEST-1';

SELECT 'Three changes in one transaction: one FHIR update' AS step;
BEGIN;
SELECT 'This transaction' AS step, pg_current_xact_id() AS txid;
UPDATE public.patient SET email = 'anna.changed@example.com'
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1';
UPDATE public.patient_other_identifiers SET identifier_value = 'INS-TEST-3'
WHERE identifier_system = 'https://insurance.example.com/member' AND identifier_value = 'INS-TEST-2';
UPDATE public.patient SET address_city = 'Boston', address_country = 'USA'
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1';
COMMIT;

SELECT 'A transaction that is rolled back: nothing reaches FHIR' AS step;
BEGIN;
UPDATE public.patient SET name_family = 'Never'
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1';
ROLLBACK;

SELECT 'Delete the patient and its identifiers' AS step;
BEGIN;
DELETE FROM public.patient_other_identifiers
WHERE patient_id IN (
  SELECT id FROM public.patient
  WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1'
);
DELETE FROM public.patient
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-1';
COMMIT;

SELECT 'Move an event to the dead letters; the patient''s later delete resolves it' AS step;
-- What only the owner may.
RESET ROLE;
BEGIN;
INSERT INTO public.patient (name_family, name_given, identifier_system, identifier_value)
VALUES ('Test', 'Dead Letter', 'https://hospital.example.com/test', 'MRN-TEST-2');
SELECT public.fhir_move_outbox_to_dlq(max(id), 'Moved by hand by test_events.sql') AS dead_letter
FROM public.fhir_outbox WHERE txid = pg_current_xact_id()::text::bigint;
COMMIT;
DELETE FROM public.patient
WHERE identifier_system = 'https://hospital.example.com/test' AND identifier_value = 'MRN-TEST-2';

SELECT 'Clean up what was finished more than 90 days ago' AS step;
SELECT outbox_rows, dlq_rows, processed_events FROM public.fhir_cleanup_old(90);

SELECT 'Summary' AS step;
SELECT table_name, operation, count(*) AS events, count(*) FILTER (WHERE processed) AS processed
FROM public.fhir_outbox GROUP BY table_name, operation ORDER BY table_name, operation;
SELECT count(*) FILTER (WHERE resolved_at IS NULL) AS unresolved, count(*) AS dead_letters FROM public.fhir_dlq;
SELECT txid, first_seen, row_count FROM public.vw_fhir_pending_txids ORDER BY first_seen DESC LIMIT 20;
