// The log of a process that ends: each line is there, whole and in its order.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';

const LOG = new URL('../src/log.ts', import.meta.url);

/** What a process prints that makes a log, runs this code with it, and ends. */
async function printed(code: string): Promise<string> {
  const script = `import { createLog } from ${JSON.stringify(LOG.href)};
    const log = createLog({ WORKER_ID: 'one', LOG_LEVEL: 'info' });
    ${code}`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return output;
}

const numbers = (output: string) =>
  output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).n);

describe('the log', () => {
  it.each([
    ['of itself', ''],
    ['in the turn of its last line', 'process.exit(1);'],
    ['by an error that nobody catches', "throw new Error('a bug');"],
  ])('loses no line of a process that ends %s, be it more than a pipe holds', async (_, ending) => {
    const count = 3000;
    const output = await printed(`for (let n = 0; n < ${count}; n += 1) log.info({ n }, 'a line'); ${ending}`);
    expect(numbers(output)).toEqual(Array.from({ length: count }, (_, n) => n));
  });

  it('tells who logs, when and how grave it is', async () => {
    const line = JSON.parse(await printed("log.warn({ txid: 7 }, 'a line');"));
    expect(line).toMatchObject({ level: 40, service: 'fhir-connector', worker_id: 'one', txid: 7, msg: 'a line' });
    expect(new Date(line.time).toISOString()).toBe(line.time);
  });
});
