// A shard: which patients are one connector's, where several share the outbox. The row filter of its publication says the same.

/** Of `count` connectors, the one with the number `index`, from 0. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** One connector for all. */
export const WHOLE: Shard = { index: 0, count: 1 };

/** What shards tell one another by NOTIFY: a connector has ended links that another one may have in memory. */
export const LINKS_CHANGED = 'fhir_links_changed';

/** The name of a shard's slot or publication: `fhir_outbox_slot_1_of_4`; of the only one it is the base itself. */
export function nameOf(base: string, { index, count }: Shard): string {
  return count === 1 ? base : `${base}_${index}_of_${count}`;
}

/** Is it what a connector with this base would use that runs with another number of shards? */
export function isOfAnotherCount(name: string, base: string, count: number): boolean {
  if (name === base) return count !== 1;
  const [, index, of] = name.startsWith(`${base}_`) ? (name.slice(base.length).match(/^_(\d+)_of_(\d+)$/) ?? []) : [];
  return index !== undefined && Number(of) > 1 && Number(index) < Number(of) && Number(of) !== count;
}

/** An SQL condition on rows of fhir_outbox and fhir_dlq: whose `patient` is in the shard. As 018_shards.sql has it in the row filter. */
export function filterOf({ index, count }: Shard, patient = 'patient_id'): string {
  return count === 1 ? 'true' : `abs(coalesce(${patient}, 0) % ${count}) = ${index}`;
}
