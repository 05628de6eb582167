// What a FHIR server answers, byte by byte over a socket: each call has one answer or one fault, in time, and nobody else is asked.
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { AccessTokens } from '../../src/fhir/authorization/access-tokens.ts';
import { fixedCredentials } from '../../src/fhir/authorization/credentials.ts';
import { TokenClient } from '../../src/fhir/authorization/token-client.ts';
import { createFhirClient } from '../../src/fhir/client/create-client.ts';
import type { FhirClient } from '../../src/fhir/client/fhir-client.ts';
import type { Fault } from '../../src/fhir/faults/fault.ts';
import { FAULT_TABLE } from '../../src/fhir/faults/fault-table.ts';
import type { Patient } from '../../src/fhir/model/resource-types.ts';
import { ANSWER, type Answer, IDENTIFIER, send } from './hostile-answers.ts';
import { CANARY, mustBeUnpolluted } from './hostile-json.ts';
import { opened, type Surface } from './surface.ts';

const TIMEOUT_MS = 400;
/** A search may follow a write, and a read each of three PUTs of a Bundle, and a token may be asked for before; and this is for a machine that does much else. */
const LONGEST_MS = 12 * TIMEOUT_MS + 5000;
const LONGEST_REASON = 2000;

const patientOf = (value: string): Patient => ({
  resourceType: 'Patient',
  identifier: [{ system: IDENTIFIER.system, value }],
});

/** What each call asks for. */
const METHODS: Readonly<Record<string, (fhir: FhirClient) => Promise<unknown>>> = {
  putByIdentifier: (fhir) => fhir.putByIdentifier(patientOf('7'), IDENTIFIER, 'key'),
  putById: (fhir) => fhir.putById(patientOf('7'), '7', '1', 'key'),
  deleteById: (fhir) => fhir.deleteById('Patient', '7', 'key'),
  search: (fhir) => fhir.search('Patient', IDENTIFIER),
  read: (fhir) => fhir.read('Patient', '7'),
  readVersion: (fhir) => fhir.read('Patient', '7', '1'),
  count: (fhir) => fhir.count('Patient'),
  list: (fhir) => fhir.list('Patient', null, ['active'], null),
  probe: (fhir) => fhir.probe(),
  capabilities: (fhir) => fhir.capabilities(),
};

interface Call {
  readonly method: string;
  readonly answers: readonly Answer[];
  readonly bundled: boolean;
  /** Where the same server is asked for an access token first. */
  readonly tokens: 'nowhere' | 'at a URL' | 'where it says';
}

const CALL: fc.Arbitrary<Call> = fc.record({
  method: fc.constantFrom(...Object.keys(METHODS), 'transaction'),
  answers: fc.array(ANSWER, { minLength: 1, maxLength: 4 }),
  bundled: fc.boolean(),
  tokens: fc.constantFrom('nowhere', 'nowhere', 'at a URL', 'where it says'),
});

/** A server on a socket, which notes each request line. */
class RawServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  answers: readonly Answer[] = [];
  asked: string[] = [];

  private constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(): Promise<RawServer> {
    const server = new RawServer();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/fhir`;
  }

  /** Ends all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket)).on('error', () => undefined);
    let received = '';
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      const head = received.indexOf('\r\n\r\n');
      if (head === -1) return;
      const length = Number(/^content-length: (\d+)/im.exec(received.slice(0, head))?.[1] ?? 0);
      const answer = this.answers[this.asked.length % this.answers.length];
      if (!answer || (!answer.early && received.length < head + 4 + length)) return;
      this.asked.push(received.slice(0, head));
      received = '';
      send(socket, answer);
    });
  }
}

function tokensOf(fhirServer: string, atUrl: boolean): AccessTokens {
  const source = new TokenClient({
    clientId: 'fuzz',
    authentication: { secret: 'secret' },
    tokenUrl: atUrl ? `${fhirServer}/token` : null,
    fhirServer,
    scope: null,
    access: { types: ['Patient'], writes: true, deletes: false },
    tls: () => ({}),
    allowHttp: false,
    timeoutMs: TIMEOUT_MS,
  });
  return new AccessTokens(source);
}

async function holds(server: RawServer, { method, answers, bundled, tokens }: Call): Promise<void> {
  server.answers = answers;
  server.asked = [];
  const options = { baseUrl: server.url, concurrency: 2, timeoutMs: TIMEOUT_MS, userAgent: 'fuzz' };
  const isTransaction = method === 'transaction';
  const batchSize = bundled || isTransaction ? 4 : 1;
  const credentials = tokens === 'nowhere' ? fixedCredentials(null) : tokensOf(server.url, tokens === 'at a URL');
  const fhir = createFhirClient({ ...options, batchSize, credentials }, () => undefined);
  const started = performance.now();
  try {
    const called = isTransaction
      ? ['1', '2', '3'].map((value) =>
          value === '1'
            ? fhir.putById(patientOf(value), value, null, `key${value}`)
            : fhir.putByIdentifier(patientOf(value), { ...IDENTIFIER, value }, `key${value}`),
        )
      : [METHODS[method]?.(fhir)];
    for (const answer of await Promise.all(called)) judge(answer, method);
  } finally {
    await fhir.close();
    server.cut();
  }
  const tookMs = performance.now() - started;
  assert.ok(tookMs < LONGEST_MS, `It took ${Math.round(tookMs)} ms.`);
  for (const request of server.asked) {
    assert.match(request, /^[A-Z]+ \/fhir[^\r\n]* HTTP\/1\.1\r\n/, 'It asked for something beside the base.');
    assert.ok(!/^[A-Z]+ \/fhir\/[A-Za-z]+\/\.{1,2}[/ ?]/.test(request), 'A path leads to the folder above.');
  }
  mustBeUnpolluted();
}

/** One answer, with what the next request may repeat; or one fault of the table that says nothing of what the server wrote. */
function judge(answer: unknown, method: string): void {
  const fault = faultIn(answer, method);
  if (fault !== null) {
    const row = FAULT_TABLE.find(
      ({ code, sentence }) => fault.reason.startsWith(sentence) && (code.includes('*') || code === fault.code),
    );
    assert.ok(row, 'The fault is none of the table.');
    assert.ok(!fault.reason.includes(CANARY), 'The reason repeats the answer.');
    assert.match(fault.reason, /^[^\p{Cc}]*$/u);
    assert.ok(fault.reason.length < LONGEST_REASON, 'The reason is long.');
    assert.ok((JSON.stringify(fault.outcome) ?? '').length < 4 * 1024 * 1024, 'The outcome is huge.');
    return;
  }
  for (const [name, value] of Object.entries((answer ?? {}) as Record<string, unknown>)) {
    if (value === null) continue;
    if (name === 'id' || name === 'versionId') assert.match(String(value), /^(?!\.{1,2}$)[A-Za-z0-9.-]{1,64}$/);
    if (name === 'total') assert.ok(Number.isSafeInteger(value) && (value as number) >= 0);
    if (name === 'resource') assert.equal((value as { id?: unknown }).id ?? '7', '7');
  }
}

function faultIn(answer: unknown, method: string): Fault | null {
  if (method === 'probe') return answer as Fault | null;
  const { ok, fault } = answer as { ok: boolean; fault?: Fault };
  assert.equal(typeof ok, 'boolean');
  return ok ? null : (fault as Fault);
}

export const fhirAnswers: Surface = {
  name: 'fhir-answers',
  async open() {
    const server = await RawServer.start();
    return opened(
      CALL,
      (call) => holds(server, call),
      () => server.stop(),
    );
  },
};
