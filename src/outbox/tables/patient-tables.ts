// The tables of whose rows one Patient is made, as the kind `patient` names them, for statements on fhir_outbox.
import { sql } from 'kysely';

/** It stays as literal in a statement as it is in a partial index (018_shards.sql): with parameters that index is not used. */
export const PATIENT_TABLES = sql.raw(`('patient', 'patient_other_identifiers')`);
