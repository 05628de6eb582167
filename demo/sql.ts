// `npm run demo:sql -- "UPDATE …"`: runs SQL in the database of the demonstration that runs, for people without psql.

import { parseArgs } from 'node:util';
import pg from 'pg';
import { tableLines } from '../src/cli/output.ts';
import { type RunningDemo, runningDemos } from './running-demo.ts';

const USAGE = `Give the SQL in quotes, for example: npm run demo:sql -- "UPDATE patient SET email = 'new@example.com' WHERE id = 1"`;

/** What is wrong, in a sentence for whoever typed the command. */
class Refusal extends Error {}

try {
  const { sql, port } = readArguments();
  await runSql(choose(await runningDemos(), port), sql);
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

function readArguments(): { sql: string; port: string | undefined } {
  try {
    const { values, positionals } = parseArgs({ options: { port: { type: 'string' } }, allowPositionals: true });
    const sql = positionals.join(' ').trim();
    if (sql === '') throw new Refusal(USAGE);
    return { sql, port: values.port };
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(`${(error as Error).message}\n${USAGE}`);
  }
}

function choose(demos: readonly RunningDemo[], port: string | undefined): RunningDemo {
  const fitting = demos.filter((demo) => port === undefined || String(demo.port) === port);
  const [demo] = fitting;
  if (!demo) {
    const where = port === undefined ? '' : ` on port ${port}`;
    throw new Refusal(`No demonstration of yours is running${where}. Start one in another terminal: npm run demo`);
  }
  if (fitting.length > 1) {
    const ports = fitting.map(({ port }) => port).join(', ');
    throw new Refusal(
      `${fitting.length} demonstrations are running, with PostgreSQL on the ports ${ports}. Choose one: npm run demo:sql -- --port ${demo.port} "…"`,
    );
  }
  return demo;
}

async function runSql({ pid: _, ...connection }: RunningDemo, sql: string): Promise<void> {
  // Values as PostgreSQL writes them.
  const types = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig;
  const client = new pg.Client({ ...connection, types, application_name: 'npm run demo:sql' });
  client.on('notice', ({ severity, message }) => process.stderr.write(`${severity}:  ${message}\n`));
  try {
    await client.connect();
  } catch (error) {
    throw new Refusal(`The demonstration's PostgreSQL cannot be reached: ${(error as Error).message}`);
  }
  try {
    const answer = await client.query({ text: sql, rowMode: 'array' });
    // Several statements give several results.
    for (const result of [answer].flat()) print(result);
  } catch (error) {
    throw error instanceof pg.DatabaseError ? new Refusal(describe(error)) : error;
  } finally {
    await client.end();
  }
}

function print({ command, rowCount, fields, rows }: pg.QueryArrayResult<(string | null)[]>): void {
  const names = fields.map(({ name }) => name);
  const lines = names.length > 0 ? tableLines(names, rows) : [];
  const tag =
    command === 'SELECT' ? `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})` : commandTag(command, rowCount);
  process.stdout.write(`${[...lines, tag].join('\n')}\n`);
}

/** As psql: the 0 of an INSERT was an oid once. */
function commandTag(command: string, rowCount: number | null): string {
  return [command, ...(command === 'INSERT' ? [0] : []), ...(rowCount === null ? [] : [rowCount])].join(' ');
}

/** https://www.postgresql.org/docs/current/protocol-error-fields.html */
function describe({ severity, message, detail, hint, code }: pg.DatabaseError): string {
  return [
    `${severity}:  ${message}`,
    // It works as the application, which may read and change the patients' tables alone.
    ...(code === '42501'
      ? ["An operator may read more: the demonstration's line `See the outbox` has the login."]
      : []),
    ...(detail ? [`DETAIL:  ${detail}`] : []),
    ...(hint ? [`HINT:  ${hint}`] : []),
  ].join('\n');
}
