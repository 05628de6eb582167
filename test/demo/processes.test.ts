// The demonstration's side processes: what a person meets without a demonstration, and what ends when it is killed.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'demo-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs it with a temporary directory of its own, in which no demonstration is. */
async function demoSql(...args: string[]): Promise<{ status: number; output: string }> {
  const env = { PATH: process.env.PATH, TMPDIR: folder };
  const child = spawn(process.execPath, ['demo/sql.ts', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const [status] = await once(child, 'close');
  return { status, output };
}

describe('npm run demo:sql', () => {
  const noDemo = 'No demonstration of yours is running. Start one in another terminal: npm run demo\n';

  test('says that no demonstration runs', async () => {
    expect(await demoSql('SELECT 1')).toEqual({ status: 1, output: noDemo });
  });

  test('asks for SQL', async () => {
    const { status, output } = await demoSql();
    expect(status).toBe(1);
    expect(output).toMatch(/^Give the SQL in quotes, for example: npm run demo:sql -- "UPDATE /);
  });

  test('takes neither a demonstration that has ended nor a file that is none', async () => {
    const ended = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(ended, 'close');
    for (const [name, content] of [
      ['ended', JSON.stringify({ pid: ended.pid, host: '127.0.0.1', port: 1 })],
      ['broken', '{'],
    ] as const) {
      await mkdir(join(folder, `fhir-connector-postgres-${name}`));
      writeFileSync(join(folder, `fhir-connector-postgres-${name}`, 'demo.json'), content);
    }
    expect(await demoSql('SELECT 1')).toEqual({ status: 1, output: noDemo });
  });

  test('asks which, when several run', async () => {
    for (const port of [5001, 5002]) {
      await mkdir(join(folder, `fhir-connector-postgres-${port}`));
      const demo = JSON.stringify({ pid: process.pid, host: '127.0.0.1', port });
      writeFileSync(join(folder, `fhir-connector-postgres-${port}`, 'demo.json'), demo);
    }
    const { status, output } = await demoSql('SELECT 1');
    expect(status).toBe(1);
    expect(output).toMatch(/^2 demonstrations are running, .* ports 500[12], 500[12]\. Choose one: .*--port 500[12]/);
  });
});

test("the connector's process ends with the pipe to the demonstration, and the pipe does not keep it", async () => {
  const start = (code: string) =>
    spawn(process.execPath, ['--import', new URL('../../demo/end-with-parent.ts', import.meta.url).href, '-e', code], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  const running = start('setInterval(() => {}, 1000); console.log("up")');
  await once(running.stdout, 'data');
  running.stdin.end();
  expect(await once(running, 'exit')).toEqual([1, null]);
  expect(await once(start('0'), 'exit')).toEqual([0, null]);
}, 30_000);
