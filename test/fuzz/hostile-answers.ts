// Answers that no FHIR server should give: what is in them, and in what manner their bytes are sent.
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { CANARY, nested, oddJson, oddText, spoiled } from './hostile-json.ts';

export const IDENTIFIER = { system: 'urn:mrn', value: '7' };
const ID = fc.oneof(
  fc.constantFrom(
    '7',
    '8',
    'abc',
    '.',
    '..',
    '../8',
    '%2e%2e',
    '7/_history/1',
    '',
    ' ',
    'a b',
    '7\r\nx: y',
    '☃',
    'x'.repeat(65),
  ),
  oddText.map((text) => text.slice(0, 200)),
);
const VERSION = fc.oneof(fc.constantFrom('1', '2', '"', 'W/"3"', '..', '', '1\r\nx: y'), ID);
const LINK = fc.oneof(
  fc.constantFrom(
    'http://evil.example.com/fhir/Patient?page=2',
    'http://user:password@evil.example.com/fhir/x',
    '//evil.example.com/fhir/Patient',
    '/fhir/Patient?page=2',
    'Patient?page=2',
    '../../admin',
    '/fhir/../../admin',
    'javascript:alert(1)',
    'file:///etc/passwd',
    '',
  ),
  oddText,
);

const META = fc.oneof(
  VERSION.map((versionId) => ({ versionId })),
  oddJson,
);
const PATIENT = fc
  .record({ id: ID, meta: META })
  .chain(({ id, meta }) => spoiled({ resourceType: 'Patient', id, meta, identifier: [IDENTIFIER], active: true }));
const ISSUE = spoiled({
  severity: 'error',
  code: 'processing',
  diagnostics: `HAPI-0389: ${CANARY}`,
  expression: ['Patient.name[0].family', `Patient.${CANARY}`, `Patient${'.name'.repeat(5000)}`],
  details: { text: CANARY, coding: [{ system: 'urn:x', code: CANARY }] },
});
const OUTCOME = fc
  .array(ISSUE, { maxLength: 4 })
  .chain((issue) => spoiled({ resourceType: 'OperationOutcome', issue }));
const ENTRY = fc
  .record({ resource: fc.oneof(PATIENT, oddJson), id: ID, version: VERSION })
  .chain(({ resource, id, version }) =>
    spoiled({
      resource,
      response: { status: '200 OK', location: `Patient/${id}/_history/${version}`, etag: `W/"${version}"` },
    }),
  )
  .chain((entry) =>
    fc.oneof(
      fc.constant(entry),
      spoiled({ status: '201', location: 'Patient/7/_history/1' }).map((response) => ({ ...entry, response })),
      oddJson,
    ),
  );
const BUNDLE = fc
  .record({
    entry: fc.array(ENTRY, { maxLength: 4 }),
    type: fc.constantFrom('searchset', 'transaction-response'),
    url: LINK,
    total: oddJson,
  })
  .chain(({ entry, type, url, total }) =>
    spoiled({ resourceType: 'Bundle', type, total, entry, link: [{ relation: 'next', url }] }),
  );
const STATEMENT = spoiled({
  resourceType: 'CapabilityStatement',
  fhirVersion: '4.0.1',
  software: { name: 'x', version: '1' },
  rest: [{ mode: 'server', resource: [{ type: 'Patient', interaction: [{ code: 'read' }] }] }],
});

const HUGE = fc.constantFrom(
  () => nested(100_000, '[', '1', ']'),
  () => nested(100_000, '{"resourceType":', '"Patient"', '}'),
  () => `{"resourceType":"Patient","id":"7","contained":${nested(20_000, '[', '1', ']')}}`,
  () => `{"resourceType":"OperationOutcome","issue":[${'{},'.repeat(300_000)}{}]}`,
  () => `{"resourceType":"Bundle","entry":[${'[],'.repeat(300_000)}[]]}`,
  () => `{"resourceType":"Patient","id":"7","text":"${'x'.repeat(17 * 1024 * 1024)}"}`,
  () => `{"resourceType":"OperationOutcome","issue":[{"diagnostics":"${'HAPI-0389:'.repeat(90_000)}"}]}`,
);

const BODY: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.oneof(PATIENT, OUTCOME, BUNDLE, STATEMENT).map(textOf) },
  { weight: 1, arbitrary: oddJson.map(textOf) },
  { weight: 1, arbitrary: oddText },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '{', '<html>login</html>', '\ufeff{}', '{"resourceType":"Patient","id":"7"}x'),
  },
  { weight: 1, arbitrary: HUGE.map((make) => make()) },
);

const HEADER_NAMES = [
  'ETag',
  'Location',
  'Content-Location',
  'Retry-After',
  'X-Odd',
  'constructor',
  '__proto__',
  'Set-Cookie',
];
const HEADER = fc.oneof(
  fc
    .tuple(
      fc.constantFrom('Location', 'Content-Location'),
      ID,
      VERSION,
      fc.constantFrom('', '/fhir/', 'http://evil.example.com/fhir/'),
    )
    .map(([name, id, version, base]): [string, string] => [name, `${base}Patient/${id}/_history/${version}`]),
  VERSION.map((version): [string, string] => ['ETag', `W/"${version}"`]),
  fc.tuple(
    fc.constantFrom(...HEADER_NAMES),
    oddText.map((text) => text.slice(0, 500)),
  ),
  fc.constantFrom<[string, string]>(
    ['Content-Encoding', 'gzip'],
    ['Connection', 'close'],
    ['Connection', 'upgrade'],
    ['Upgrade', 'h2c'],
    ['Content-Type', 'text/html'],
    ['Retry-After', '99999999999999999999'],
    ['Retry-After', '-1'],
    ['Location', 'http://127.0.0.1:1/fhir/Patient/7'],
  ),
);

/** How the bytes of an answer are spoiled on their way, or sent. */
type Manner =
  | 'whole'
  | 'chunked'
  | 'bad-chunks'
  | 'no-length'
  | 'too-long'
  | 'too-short'
  | 'header-bomb'
  | 'megabyte-header'
  | 'early-hints'
  | 'drip'
  | 'endless'
  | 'slow-header'
  | 'byte-by-byte'
  | 'twice'
  | 'garbage'
  | 'silent'
  | 'reset';
const MANNERS: readonly Manner[] = [
  'chunked', 'bad-chunks', 'no-length', 'too-long', 'too-short', 'header-bomb', 'megabyte-header', 'early-hints',
  'drip', 'endless', 'slow-header', 'byte-by-byte', 'twice', 'garbage', 'silent', 'reset',
]; // biome-ignore format: a list of words

export interface Answer {
  readonly status: string;
  readonly headers: readonly [string, string][];
  readonly body: string;
  readonly manner: Manner;
  /** Before the request has been read. */
  readonly early: boolean;
}

const STATUS = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('200', '201', '204', '400', '404', '409', '410', '412', '422', '500', '503'),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 999 }).map((status) => String(status).padStart(3, '0')) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('301', '302', '307', '304', '100', '101', '103', '206', '1000', '-1', 'abc'),
  },
);

export const ANSWER: fc.Arbitrary<Answer> = fc.record({
  status: STATUS,
  headers: fc.array(HEADER, { maxLength: 4 }),
  body: BODY,
  manner: fc.oneof(
    { weight: 5, arbitrary: fc.constant<Manner>('whole') },
    { weight: 2, arbitrary: fc.constantFrom(...MANNERS) },
  ),
  early: fc.boolean(),
});

/** A little at a time, until the connection ends. */
function drip(socket: Socket, more: () => string | Buffer, everyMs: number): void {
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write(more())), everyMs);
  socket.once('close', () => clearInterval(timer));
}

export function send(socket: Socket, { status, headers, body, manner }: Answer): void {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = `HTTP/1.1 ${status} X\r\n${lines}`;
  const length = `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  switch (manner) {
    case 'whole':
      socket.write(`${head}${length}${body}`);
      return;
    case 'chunked':
      socket.write(
        `${head}Transfer-Encoding: chunked\r\n\r\n${body === '' ? '' : `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`}0\r\n\r\n`,
      );
      return;
    case 'bad-chunks':
      socket.write(`${head}Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n${body}\r\nzz\r\n`);
      return;
    case 'no-length':
      socket.end(`${head}\r\n${body}`);
      return;
    case 'too-long':
      socket.write(`${head}Content-Length: 99999999999\r\n\r\n${body}`);
      return;
    case 'too-short':
      socket.write(`${head}Content-Length: ${body.length >> 1}\r\n\r\n${body}`);
      return;
    case 'header-bomb':
      socket.write(`${head}${'x: y\r\n'.repeat(20_000)}${length}${body}`);
      return;
    case 'megabyte-header':
      socket.write(`${head}x: ${'y'.repeat(1024 * 1024)}\r\n${length}${body}`);
      return;
    case 'early-hints':
      socket.write(`${'HTTP/1.1 103 X\r\nLink: <x>\r\n\r\n'.repeat(2000)}${head}${length}${body}`);
      return;
    case 'drip':
      socket.write(`${head}Content-Length: 100000\r\n\r\n`);
      drip(socket, () => 'x', 20);
      return;
    case 'endless': {
      socket.write(`${head}\r\n`);
      const piece = Buffer.alloc(1024 * 1024, 'x');
      drip(socket, () => piece, 2);
      return;
    }
    case 'slow-header':
      socket.write(head.slice(0, -2));
      drip(socket, () => 'y', 20);
      return;
    case 'byte-by-byte': {
      const text = Buffer.from(`${head}${length}${body}`).subarray(0, 400);
      let at = 0;
      drip(socket, () => text.subarray(at, ++at), 1);
      return;
    }
    case 'twice':
      socket.write(`${head}${length}${body}`.repeat(2));
      return;
    case 'garbage':
      socket.end(body.slice(0, 5000));
      return;
    case 'silent':
      return;
    case 'reset':
      socket.resetAndDestroy();
      return;
  }
}

function textOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? '';
  } catch {
    return nested(20_000, '[', '', ']');
  }
}
