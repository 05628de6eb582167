// Faults: what they may say, how long the server asks to wait, and which errors of the network they come from.
import fc from 'fast-check';
import { errors } from 'undici';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { causeOfError, faultOf, faultOfAnswer } from '../../src/fhir/faults/fault.ts';
import type { Operation } from '../../src/fhir/faults/fault-table.ts';
import { readOutcome } from '../../src/fhir/faults/operation-outcome.ts';
import { outcomeWith } from './answers.ts';

const SECRET = 'MRN-001234';

describe('the reason of a fault', () => {
  const diagnostics = `HAPI-0450: Failed to parse Patient?identifier=https://hospital.example.com/mrn|${SECRET}; SQL [insert into ${SECRET}]`;
  const refusal = { status: 422, retryAfter: SECRET, outcome: readOutcome(outcomeWith(diagnostics, 'invalid')) };

  it('is a sentence with the status and the codes', () => {
    expect(faultOfAnswer('put-by-id', refusal).reason).toBe(
      'The FHIR server does not accept the resource: dlq show names what it objects to. (HTTP 422: error invalid HAPI-0450)',
    );
    expect(faultOfAnswer('put-by-id', { ...refusal, outcome: null }).reason).toMatch(/objects to\. \(HTTP 422\)$/);
    expect(faultOf('not-fhir', 200).reason).toMatch(/^What answers is no FHIR server: .*\. \(HTTP 200\)$/);
    expect(faultOf('timeout').reason).toBe('The FHIR server did not answer in time.');
  });

  it.each<Operation>(['conditional-put', 'put-by-id', 'delete-by-id', 'search', 'read', 'probe', 'metadata'])(
    'never holds what the server said in words, for any status: %s',
    (operation) => {
      for (let status = 300; status < 600; status += 1) {
        const fault = faultOfAnswer(operation, { ...refusal, status });
        expect(fault.reason).not.toContain(SECRET);
        expect(fault.reason).not.toContain('hospital.example.com');
        expect(fault.code).toMatch(/^[a-z0-9-]+$/);
      }
    },
  );

  it('never holds it, wherever in an outcome the server puts it', () => {
    const issue = {
      severity: SECRET,
      code: SECRET,
      details: { text: SECRET, coding: [{ system: SECRET, code: SECRET, display: SECRET }] },
      diagnostics: `HAPI-1234: ${SECRET}`,
      location: [SECRET],
      expression: [SECRET],
    };
    const outcome = readOutcome({ resourceType: 'OperationOutcome', issue: [issue] });
    const fault = faultOfAnswer('put-by-id', { ...refusal, outcome });
    expect(JSON.stringify({ ...fault, outcome: null })).not.toContain(SECRET);
    // The dead letter has it all.
    expect(fault.outcome).toEqual({ resourceType: 'OperationOutcome', issue: [issue] });
  });
});

describe('Retry-After', () => {
  const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);
  const wait = (retryAfter: string | undefined) =>
    faultOfAnswer('put-by-id', { status: 503, retryAfter, outcome: null }, NOW).retryAfterMs;

  it.each([
    ['0', 0],
    ['1', 1000],
    [' 120 ', 120_000],
    ['007', 7000],
    ['300', 300_000],
    ['301', 300_000],
    ['86400', 300_000],
    ['9'.repeat(400), 300_000],
  ])('%j is in seconds, five minutes at most', (header, expected) => {
    expect(wait(header)).toBe(expected);
  });

  it.each([
    ['Fri, 02 Jan 2026 03:04:35 GMT', 30_000],
    ['Fri, 02 Jan 2026 03:04:05 GMT', 0],
    ['Thu, 01 Jan 2026 00:00:00 GMT', 0],
    ['Sat, 02 Jan 2027 00:00:00 GMT', 300_000],
    ['Friday, 02-Jan-26 03:04:35 GMT', 30_000],
  ])('%j is a date, five minutes ahead at most', (header, expected) => {
    expect(wait(header)).toBe(expected);
  });

  it('may be a date of the old form without a zone, which is GMT wherever the connector runs', () => {
    vi.stubEnv('TZ', 'America/New_York');
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(new Date(NOW).getTimezoneOffset()).toBe(300);
    expect(wait('Fri Jan  2 03:04:35 2026')).toBe(30_000);
  });

  it.each([
    undefined,
    '',
    ' ',
    'soon',
    'in 2 minutes',
    '120 seconds',
    '-5',
    '+5',
    '1.5',
    '1e3',
    '0x10',
    'soon 5',
    'tomorrow 2099',
    '2099-01-01',
    'Friday',
  ])('%j says nothing', (header) => {
    expect(wait(header)).toBeNull();
  });

  it('is never less than nothing nor more than five minutes, whatever the server writes', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.date({ noInvalidDate: false }).map(String), fc.float().map(String)),
        (header) => {
          const ms = wait(header);
          if (ms !== null && !(ms >= 0 && ms <= 300_000)) throw new Error(`${ms}`);
        },
      ),
    );
  });
});

describe('an error', () => {
  const coded = (code: string) => Object.assign(new Error(`It failed for ${SECRET}`), { code });

  it.each([
    ['timeout', [new errors.HeadersTimeoutError(), new errors.BodyTimeoutError()]],
    ['unreachable', [new errors.ConnectTimeoutError()]],
    ['network', [new errors.SocketError('other side closed'), new errors.HTTPParserError('x')]],
    ['network', [new errors.ClientDestroyedError(), new errors.ClientClosedError(), new errors.RequestAbortedError()]],
    [
      'network',
      [
        new errors.ResponseExceededMaxSizeError(),
        new errors.ResponseContentLengthMismatchError(),
        new errors.InformationalError('x'),
      ],
    ],
    [null, [new errors.InvalidArgumentError('x'), new errors.NotSupportedError('x')]],
  ])('of undici means %j', (cause, thrown) => {
    expect(thrown.map(causeOfError)).toEqual(thrown.map(() => cause));
  });

  it.each([
    [
      'unreachable',
      ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'],
    ],
    ['network', ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED']],
    // The codes of https://nodejs.org/api/tls.html#x509-certificate-error-codes
    ['tls', ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH']],
    [
      'tls',
      [
        'CERT_HAS_EXPIRED',
        'CERT_REVOKED',
        'CERT_CHAIN_TOO_LONG',
        'DEPTH_ZERO_SELF_SIGNED_CERT',
        'SELF_SIGNED_CERT_IN_CHAIN',
      ],
    ],
    ['tls', ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'INVALID_CA', 'INVALID_PURPOSE']],
    ['tls', ['PATH_LENGTH_EXCEEDED', 'CRL_HAS_EXPIRED', 'ERROR_IN_CERT_NOT_AFTER_FIELD', 'UNSPECIFIED']],
    [null, ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_URL', 'ERR_INVALID_CHAR', '', 'SOMETHING_ELSE']],
  ])('with a code of the network means %j', (cause, codes) => {
    expect(codes.map((code) => [code, causeOfError(coded(code))])).toEqual(codes.map((code) => [code, cause]));
  });

  it('of a signal that timed out is a timeout', async () => {
    const signal = AbortSignal.timeout(0);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    expect(causeOfError(signal.reason)).toBe('timeout');
  });

  it.each([
    new TypeError('a bug'),
    new RangeError('x'),
    'ECONNRESET',
    { code: 'ECONNRESET' },
    undefined,
    Object.assign(new Error('x'), { code: 7 }),
  ])('of this program is not taken for one of the network: %s', (error) => {
    expect(causeOfError(error)).toBeNull();
  });
});
