// Deleting through the client: by id, where already gone is a success, and by identifier, never more than the one found.
import { describe, expect, it } from 'vitest';
import { requestId } from '../../src/fhir/client/request-id.ts';
import { reply, serveFhir } from '../support/scripted-server.ts';
import { outcomeWith } from './answers.ts';

const EVENT_KEY = 'Patient/7/3';

describe('deleteById', () => {
  it('sends a DELETE by id', async () => {
    const { server, fhir, asked } = await serveFhir((_, response) => reply(response, 200, outcomeWith('deleted')));
    await expect(fhir.deleteById('Patient', '7', EVENT_KEY)).resolves.toEqual({
      ok: true,
      id: '7',
      versionId: null,
      status: 200,
    });
    expect(asked()).toEqual(['DELETE Patient/7']);
    expect(server.received[0]?.body).toBe('');
    expect(server.received[0]?.headers).toMatchObject({
      'x-request-id': requestId(EVENT_KEY, ''),
      'user-agent': 'fhir-connector/1.2.3',
    });
  });

  it.each([
    [204, '', { etag: 'W/"4"' }, '4'],
    [202, '', {}, null],
    [200, '', { 'content-location': 'Patient/7/_history/4' }, '4'],
    [404, '', {}, null],
    [404, outcomeWith('HAPI-2001: x', 'not-found'), {}, null],
    [410, outcomeWith('x', 'deleted'), {}, null],
  ])('has succeeded with %i and %j: gone already is gone', async (status, body, headers, versionId) => {
    const { fhir, calls } = await serveFhir((_, response) => reply(response, status, body, headers));
    await expect(fhir.deleteById('Patient', '7', EVENT_KEY)).resolves.toEqual({
      ok: true,
      id: '7',
      versionId,
      status,
    });
    expect(calls).toEqual(['DELETE ok']);
  });

  it.each([
    [409, outcomeWith('HAPI-0550: x', 'conflict'), 'referenced', 'dead-letter'],
    [405, '', 'delete-not-allowed', 'dead-letter'],
    [501, '', 'delete-not-allowed', 'dead-letter'],
    [404, '<html>', 'not-fhir', 'hold'],
    [410, '<html>', 'not-fhir', 'hold'],
    [200, '<html>', 'not-fhir', 'hold'],
    [401, '', 'unauthorized', 'hold'],
    [503, '', 'http-503', 'retry'],
  ])('has failed with %i and %j: %s, %s', async (status, body, code, disposition) => {
    const { fhir } = await serveFhir((_, response) => reply(response, status, body));
    await expect(fhir.deleteById('Patient', '7', EVENT_KEY)).resolves.toMatchObject({
      ok: false,
      fault: { code, disposition, status },
    });
  });

  it.each([200, 404, 410])(
    'takes %i with half a body for a broken connection, not for another server',
    async (status) => {
      const { fhir } = await serveFhir(({ socket }, response) => {
        response.writeHead(status, { 'content-length': '100' });
        response.write('{', () => socket.destroy());
      });
      await expect(fhir.deleteById('Patient', '7', EVENT_KEY)).resolves.toMatchObject({
        ok: false,
        fault: { code: 'network', disposition: 'retry', status },
      });
    },
  );
});
