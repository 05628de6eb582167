-- What the connector keeps in the database: the outbox, dead letters, processed events, links to FHIR resources, its
-- slot's state.

-- One row a changed row, written by the triggers in the transaction of the change, so that both or neither are
-- committed.
CREATE TABLE IF NOT EXISTS public.fhir_outbox (
  id bigserial PRIMARY KEY,
  txid bigint NOT NULL,                       -- pg_current_xact_id(): 64 bits, so it does not wrap around
  sequence_in_tx integer NOT NULL DEFAULT 1,  -- 1, 2, 3 … within the transaction
  table_name text NOT NULL,
  record_id integer NOT NULL,                 -- the changed row's id in table_name
  operation char(1) NOT NULL,                 -- I, U, D
  payload_json jsonb NOT NULL,                -- the whole patient with other_identifiers; {} when none is left to read
  patient_id integer,
  identifier_system text,
  identifier_value text,
  created_at timestamptz NOT NULL DEFAULT now(),
  processed boolean NOT NULL DEFAULT false,
  processed_at timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  next_retry_at timestamptz,
  locked_by text,                             -- of the earlier polling connector; unused
  lock_expires_at timestamptz,                -- of the earlier polling connector; unused
  fhir_resource_id text,
  fhir_version text,
  last_error text
);
-- The order of a patient's events (see fhir_patient_revision); ids and txids are not given out in commit order.
ALTER TABLE public.fhir_outbox ADD COLUMN IF NOT EXISTS patient_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE public.fhir_outbox ALTER COLUMN patient_revision DROP DEFAULT;
-- [{system, value, primary}] before the change; NULL when the change leaves the identifiers alone.
ALTER TABLE public.fhir_outbox ADD COLUMN IF NOT EXISTS previous_identifiers jsonb;

-- Small however long the history is, so the gauges and the pending view stay quick. Each delivered row is one update of
-- this table: vacuum early, or the dead entries of the index are what they would read.
CREATE INDEX IF NOT EXISTS fhir_outbox_unprocessed_idx ON public.fhir_outbox (id) WHERE NOT processed;
ALTER TABLE public.fhir_outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- What orders a patient's events, across deletes, restores and lost sequences: rows are never removed.
CREATE TABLE IF NOT EXISTS public.fhir_patient_revision (
  patient_id bigint PRIMARY KEY,
  revision bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS public.fhir_dlq (
  id bigserial PRIMARY KEY,
  outbox_id bigint,
  txid bigint,
  table_name text,
  record_id integer,
  operation char(1),
  payload_json jsonb,
  error_text text,
  attempts integer NOT NULL DEFAULT 0,
  first_failed_at timestamptz NOT NULL DEFAULT now(),
  last_failed_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.fhir_dlq
  ADD COLUMN IF NOT EXISTS resource_type text,
  ADD COLUMN IF NOT EXISTS source_id bigint,
  ADD COLUMN IF NOT EXISTS patient_id integer,
  ADD COLUMN IF NOT EXISTS patient_revision bigint,
  ADD COLUMN IF NOT EXISTS http_status integer,
  ADD COLUMN IF NOT EXISTS operation_outcome jsonb,
  ADD COLUMN IF NOT EXISTS resolved_at timestamptz,
  ADD COLUMN IF NOT EXISTS resolution text CHECK (resolution IN ('replayed', 'discarded', 'superseded')),
  ADD COLUMN IF NOT EXISTS resolution_reason text;
CREATE INDEX IF NOT EXISTS fhir_dlq_unresolved_idx ON public.fhir_dlq (resource_type, source_id)
  WHERE resolved_at IS NULL;
-- An outbox row is a dead letter once, however often it is reported.
CREATE UNIQUE INDEX IF NOT EXISTS fhir_dlq_unresolved_outbox_id_key ON public.fhir_dlq (outbox_id)
  WHERE resolved_at IS NULL;

-- event_key: 'Patient/<source id>/<patient_revision>'.
CREATE TABLE IF NOT EXISTS public.fhir_processed_event (
  id bigserial PRIMARY KEY,
  event_key text NOT NULL UNIQUE,
  processed_at timestamptz NOT NULL DEFAULT now()
);

-- Which FHIR resource a source row is. Rows are never removed: deleted_at is the tombstone of a deleted source row.
CREATE TABLE IF NOT EXISTS public.fhir_link (
  resource_type text NOT NULL,
  source_id bigint NOT NULL,
  fhir_id text,
  version_id text,
  last_revision bigint NOT NULL,
  deleted_at timestamptz,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (resource_type, source_id)
);
CREATE UNIQUE INDEX IF NOT EXISTS fhir_link_fhir_id_key ON public.fhir_link (resource_type, fhir_id)
  WHERE fhir_id IS NOT NULL;

-- The identifiers of each linked resource, to refuse an identifier that another living patient holds.
CREATE TABLE IF NOT EXISTS public.fhir_link_identifier (
  resource_type text NOT NULL,
  system text NOT NULL DEFAULT '',
  value text NOT NULL,
  source_id bigint NOT NULL,
  PRIMARY KEY (resource_type, system, value, source_id)
);
CREATE INDEX IF NOT EXISTS fhir_link_identifier_source_idx ON public.fhir_link_identifier (resource_type, source_id);

-- caught_up_at is NULL from before a slot is created until all rows that it does not stream are delivered.
CREATE TABLE IF NOT EXISTS public.fhir_slot (
  slot_name text PRIMARY KEY,
  system_identifier text,
  timeline integer,
  caught_up_at timestamptz
);

-- What waits for delivery and is due, by transaction.
CREATE OR REPLACE VIEW public.vw_fhir_pending_txids AS
SELECT txid, min(created_at) AS first_seen, count(*) AS row_count
FROM public.fhir_outbox
WHERE NOT processed AND (next_retry_at IS NULL OR next_retry_at <= now())
GROUP BY txid;
