// The FHIR server of a benchmark, in a process of its own: counts, checks the order of each patient, and costs little.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { capabilityStatement } from '../../test/support/capability-statement.ts';
import { now } from '../clock.ts';

export type SinkCommand =
  | { readonly do: 'configure'; readonly latencyMs?: number; readonly failing?: boolean }
  /** Forgets what it counted, not what it stores. */
  | { readonly do: 'reset'; readonly expect: number; readonly mark: number }
  | { readonly do: 'report' };

export interface SinkReport {
  /** PUTs that were applied. */
  readonly puts: number;
  /** PUTs of a state that had arrived before. */
  readonly duplicates: number;
  /** PUTs of a state older than one of the same patient that had arrived before. */
  readonly misordered: number;
  /** When each arrived, milliseconds of process.hrtime, by the number in its phone. */
  readonly arrivals: readonly (readonly [phone: number, at: number])[];
}

export type SinkMessage =
  | { readonly is: 'listening'; readonly url: string }
  /** So many of them have arrived that what follows counts. */
  | { readonly is: 'marked'; readonly at: number }
  /** The expected number of PUTs has arrived. */
  | { readonly is: 'reached'; readonly firstAt: number; readonly lastAt: number }
  | { readonly is: 'report'; readonly report: SinkReport };

interface Stored {
  version: number;
  state: number;
}

/** What a patient's phone begins with in a benchmark; the number of its state follows. */
const PHONE = '"system":"phone","value":"';
const CAPABILITIES = capabilityStatement('sink');

const stored = new Map<string, Stored>();
const arrivals: [number, number][] = [];
let latencyMs = 0;
let failing = false;
let expected = 0;
let mark = 0;
let puts = 0;
let duplicates = 0;
let misordered = 0;
let firstAt = 0;

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const answer = () => {
      if (failing) refuse(response);
      else if (request.method === 'PUT') put(request.url ?? '', Buffer.concat(chunks).toString(), response);
      else read(request.url ?? '', response);
    };
    if (latencyMs > 0) setTimeout(answer, latencyMs);
    else answer();
  });
});
server.keepAliveTimeout = 120_000;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  tell({ is: 'listening', url: `http://127.0.0.1:${port}/fhir` });
});

process.on('message', (command: SinkCommand) => {
  if (command.do === 'configure') {
    latencyMs = command.latencyMs ?? latencyMs;
    failing = command.failing ?? failing;
  } else if (command.do === 'reset') {
    expected = command.expect;
    mark = command.mark;
    puts = duplicates = misordered = 0;
    arrivals.length = 0;
  } else tell({ is: 'report', report: { puts, duplicates, misordered, arrivals } });
});
process.once('disconnect', () => process.exit());

function put(url: string, body: string, response: ServerResponse): void {
  const at = now();
  const id = idOf(url);
  const state = numberAfter(body, PHONE);
  const before = stored.get(id);
  if (before && state < before.state) misordered += 1;
  else if (before && state === before.state) duplicates += 1;
  const version = (before?.version ?? 0) + 1;
  stored.set(id, { version, state });
  arrivals.push([state, at]);
  puts += 1;
  if (puts === 1) firstAt = at;
  if (puts === mark) tell({ is: 'marked', at });
  if (puts === expected) tell({ is: 'reached', firstAt, lastAt: at });
  response.writeHead(version === 1 ? 201 : 200, {
    etag: `W/"${version}"`,
    'content-location': `/fhir/Patient/${id}/_history/${version}`,
    'content-length': '0',
  });
  response.end();
}

function read(url: string, response: ServerResponse): void {
  const body = url.startsWith('/fhir/metadata')
    ? CAPABILITIES
    : { resourceType: 'Bundle', type: 'searchset', total: stored.size };
  response.setHeader('content-type', 'application/fhir+json');
  response.end(JSON.stringify(body));
}

function refuse(response: ServerResponse): void {
  response.statusCode = 503;
  response.setHeader('content-type', 'application/fhir+json');
  response.end('{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"transient"}]}');
}

/** /fhir/Patient/p7, or for /fhir/Patient?identifier=urn%3Abench%7C7 the id that such a patient gets. */
function idOf(url: string): string {
  const query = url.lastIndexOf('%7C');
  return query === -1 ? url.slice('/fhir/Patient/'.length) : `p${url.slice(query + 3)}`;
}

function numberAfter(text: string, mark: string): number {
  const at = text.indexOf(mark);
  return at === -1 ? 0 : Number.parseInt(text.slice(at + mark.length, at + mark.length + 12), 10);
}

function tell(message: SinkMessage): void {
  process.send?.(message);
}
