// PUT alone: what the connector would send, as fast as the sink takes it. `node put-floor.ts URL WIDTH COUNT`
import { Pool } from 'undici';
import { patientBody } from '../patient.ts';
import { cpuSeconds } from '../usage.ts';

const [url = '', width = '', count = ''] = process.argv.slice(2);
const PATIENTS = 2000;

const http = new Pool(new URL(url).origin, { connections: Number(width), pipelining: 1 });
const headers = {
  'content-type': 'application/fhir+json',
  accept: 'application/fhir+json',
  prefer: 'return=minimal',
  'x-request-id': '0123456789abcdef',
  'if-match': 'W/"1"',
};

let sent = 0;

async function worker(until: number): Promise<void> {
  while (sent < until) {
    const n = sent;
    sent += 1;
    const id = `floor-${n % PATIENTS}`;
    const body = patientBody(id, n);
    const answer = await http.request({ method: 'PUT', path: `/fhir/Patient/${id}`, headers, body });
    await answer.body.dump();
  }
}

async function run(puts: number): Promise<number> {
  const until = sent + puts;
  const started = performance.now();
  await Promise.all(Array.from({ length: Number(width) }, () => worker(until)));
  return (performance.now() - started) / 1000;
}

// The machine code of what is to be measured is made while it runs: first a tenth that does not count.
await run(Math.ceil(Number(count) / 10));
const cpuBefore = cpuSeconds();
const seconds = await run(Number(count));
console.log(
  JSON.stringify({ rate: Number(count) / seconds, cpuMs: ((cpuSeconds() - cpuBefore) * 1000) / Number(count) }),
);
await http.close();
