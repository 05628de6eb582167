// A FHIR server whose list of resources never ends: verify says so, and does not ask for ever.
import { expect, it } from 'vitest';
import { KINDS, type ResourceKind } from '../../src/outbox/delivery/kinds.ts';
import type { Database } from '../../src/outbox/tables/database.ts';
import { listUnlinked } from '../../src/verify/server-only.ts';
import { reply, serveFhir } from '../support/scripted-server.ts';

/** Nothing is asked of it where no page has a resource of ours. */
const NO_DATABASE = undefined as unknown as Database;
const [patient] = KINDS as [ResourceKind];

async function list(nextOf: (asked: number) => string): Promise<number> {
  let asked = 0;
  const { fhir } = await serveFhir((_, response) => {
    asked += 1;
    reply(response, 200, { resourceType: 'Bundle', link: [{ relation: 'next', url: nextOf(asked) }] });
  });
  const listing = listUnlinked(NO_DATABASE, fhir, patient, new Set(), () => undefined, new AbortController().signal);
  await expect(listing).rejects.toThrow(/its list of resources has no end: /);
  return asked;
}

it('a page that leads back to one before it ends the list with an error', async () => {
  expect(await list((asked) => `Patient?page=${asked % 3}`)).toBe(4);
});

it('a thousand pages without a resource end it, too', async () => {
  expect(await list((asked) => `Patient?page=${asked}`)).toBeLessThan(1100);
});
