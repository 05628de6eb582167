// The connector's tables as kysely sees them; sql/migrations is where they are made.

/** bigint columns arrive and leave as text; ids and revisions stay far below 2^53 and are turned into numbers where they are read. */
type BigIntColumn = string;

interface LinkTable {
  resource_type: string;
  source_table: string;
  source_id: BigIntColumn;
  fhir_id: string | null;
  version_id: string | null;
  last_revision: BigIntColumn;
  deleted_at: Date | null;
}

interface LinkIdentifierTable {
  resource_type: string;
  system: string;
  value: string;
  source_id: BigIntColumn;
}

interface SlotTable {
  slot_name: string;
  system_identifier: string | null;
  timeline: number | null;
  caught_up_at: Date | null;
}

/** Those that statements are built for; the others are asked in SQL. */
export interface Schema {
  fhir_link: LinkTable;
  fhir_link_identifier: LinkIdentifierTable;
  fhir_slot: SlotTable;
}
