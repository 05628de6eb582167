// The FHIR client of a command: it tells the server who it is.
import { expect, it, onTestFinished } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { openFhirClient } from '../../src/cli/open-fhir-client.ts';
import { fhirSchema } from '../../src/config/environment.ts';
import { readConfig } from '../../src/config/read.ts';
import { reply, serve } from '../support/scripted-server.ts';

it('a command names the connector and its version to the FHIR server', async () => {
  const server = await serve((_, response) => reply(response, 404));
  const fhir = openFhirClient(readConfig(fhirSchema, { FHIR_SERVER: server.origin }), {
    writes: false,
    deletes: false,
  });
  onTestFinished(() => fhir.close());
  await fhir.read('Patient', '1');
  const agent = server.received[0]?.headers['user-agent'];
  expect(agent).toBe(`fhir-connector/${packageJson.version}`);
  // https://httpwg.org/specs/rfc9110.html#field.user-agent
  expect(agent).toMatch(/^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/);
});
