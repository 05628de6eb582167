// A hop between the connector and HAPI at which somebody else writes by the same identifier at the very same moment.
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ask, fhirUrl } from './fhir-server.ts';

export interface Rival {
  /** The FHIR base URL for the connector. */
  readonly url: string;
  /** The statuses that the rival's PUTs got; resolves when all of them are answered. */
  statuses(): Promise<number[]>;
  close(): Promise<void>;
}

/** Each first PUT by an identifier from the connector meets `writers` PUTs of others, each with a state of its own. */
export async function startRival(writers: number): Promise<Rival> {
  const target = new URL(fhirUrl());
  const met = new Set<string>();
  const answers: Promise<number>[] = [];
  const server = createServer((incoming, outgoing) => {
    const { method, url: path = '', headers } = incoming;
    const query = path.slice(target.pathname.length + 1);
    const first = method === 'PUT' && query.includes('?identifier=') && !met.has(query);
    const forwarded = request(
      { host: target.hostname, port: target.port, method, path, headers: { ...headers, host: target.host } },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      },
    );
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
    if (!first) return;
    met.add(query);
    const [system, value] = decodeURIComponent(query.split('=')[1] ?? '').split('|');
    for (let n = 1; n <= writers; n += 1) {
      const patient = { resourceType: 'Patient', identifier: [{ system, value }], name: [{ family: `Rival-${n}` }] };
      answers.push(ask('PUT', query, patient).then(({ status }) => status));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${target.pathname}`,
    statuses: () => Promise.all(answers),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
