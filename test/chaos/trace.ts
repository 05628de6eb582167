// For whoever looks for the cause of a violation: all that happened to the patients it names, in the order of time.

import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nameOf } from './judge.ts';
import type { WalOracle } from './oracle.ts';
import { ask, type World } from './world.ts';

/** Writes the trace to a file and returns its path. */
export async function writeTrace(
  seed: number,
  violations: readonly string[],
  oracle: WalOracle,
  world: World,
): Promise<string> {
  const named = new Set(
    violations.flatMap((violation) => violation.match(/(Patient|form|blood_pressure|pulse) \d+/g) ?? []),
  );
  const keys = [...named].map((name) => `${name.replace(' ', '/')}/`);
  const resources = new Set(
    world.fhir.writes.filter(({ body }) => body && named.has(nameOf(body))).map(({ id }) => id),
  );
  const written = world.fhir.writes
    .filter(({ id }) => resources.has(id))
    .map(({ at, id, version, query, ifMatch, body }) => ({
      at: performance.timeOrigin + at,
      line: `PUT ${id}/${version} by ${query ?? 'id'} if ${ifMatch ?? '-'} ${JSON.stringify(body)}`,
    }));
  const logged = world.connectors
    .flatMap(({ lines }) => lines)
    .filter(
      (line) =>
        keys.some((key) => String(line.eventKey).startsWith(key)) ||
        Number(line.level) >= 40 ||
        line.msg === 'Streaming.',
    )
    .map((line) => ({ at: Date.parse(String(line.time)), line: `LOG ${JSON.stringify(line)}` }));
  const committed = oracle.changes
    .filter(({ who }) => named.has(who))
    .map(({ who, txid, body }) => `COMMIT ${txid} ${who} ${JSON.stringify(body)}`);
  const outbox = await ask(
    world.db,
    `SELECT id, txid, table_name, operation, patient_id, patient_revision, previous_identifiers, fhir_resource_id, fhir_version, last_error
       FROM fhir_outbox
      WHERE 'Patient ' || patient_id = ANY ($1) OR table_name || ' ' || record_id = ANY ($1) ORDER BY id`,
    [[...named]],
  );
  const path = join(tmpdir(), `chaos-${seed}.trace`);
  const timed = [...written, ...logged].toSorted((a, b) => a.at - b.at);
  await writeFile(
    path,
    [
      ...violations,
      ...committed,
      ...outbox.map((row) => `OUTBOX ${JSON.stringify(row)}`),
      ...timed.map(({ at, line }) => `${new Date(at).toISOString()} ${line}`),
    ].join('\n'),
  );
  return path;
}
