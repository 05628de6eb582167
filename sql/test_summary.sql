-- What sql/test_events.sql left, for an operator's eyes: psql -U operator -d health -f sql/test_summary.sql

SELECT 'Summary' AS step;
SELECT table_name, operation, count(*) AS events, count(*) FILTER (WHERE processed) AS processed
FROM public.fhir_outbox GROUP BY table_name, operation ORDER BY table_name, operation;
SELECT count(*) FILTER (WHERE resolved_at IS NULL) AS unresolved, count(*) AS dead_letters FROM public.fhir_dlq;
SELECT txid, first_seen, row_count FROM public.vw_fhir_pending_txids ORDER BY first_seen DESC LIMIT 20;
