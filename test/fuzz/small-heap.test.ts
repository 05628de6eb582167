// The surfaces of what comes from outside, in a process that has little memory.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';

/** Of V8's heap, in megabytes: with 16 MB of an answer that is a text, and again what JSON makes of it. */
const HEAP_MB = 192;

it('payloads and answers of whatever size leave a small heap standing', { timeout: 240_000 }, async () => {
  const args = ['test/fuzz/main.ts', '--minutes', '0.3', '--only', 'payloads', '--only', 'fhir-answers'];
  const child = spawn(process.execPath, [`--max-old-space-size=${HEAP_MB}`, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said += bytes));
  const [status] = await once(child, 'close');
  expect(said).toContain('No surface failed');
  expect(status).toBe(0);
});
