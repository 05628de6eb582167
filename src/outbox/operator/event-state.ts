// What became of an event, as its outbox row and its dead letter tell.

export type EventState = 'waiting' | 'delivered' | 'superseded' | 'dead letter';

/** The SQL of it, by the names that the statement gives to the row and to its latest dead letter, if it has one. */
export function eventState(row: string, deadLetter: string): string {
  return `CASE WHEN ${deadLetter}.id IS NOT NULL THEN 'dead letter' WHEN NOT ${row}.processed THEN 'waiting'
               WHEN ${row}.fhir_resource_id IS NULL AND ${row}.last_error IS NOT NULL THEN 'superseded' ELSE 'delivered' END`;
}
