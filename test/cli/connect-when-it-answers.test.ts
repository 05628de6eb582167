// What is started together with PostgreSQL waits for it, and says in the end that nobody is there.
import { createServer } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { connectWhenItAnswers } from '../../src/cli/connect-when-it-answers.ts';
import { FatalError } from '../../src/fatal.ts';

const SILENCE_MS = 1500;
/** ErrorResponse, https://www.postgresql.org/docs/current/protocol-message-formats.html : cannot_connect_now. */
const STARTING = (() => {
  const fields = Buffer.from('SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0');
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
})();

const said = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
afterEach(() => said.mockClear());
const lines = () => said.mock.calls.map(([line]) => String(line).trimEnd());

/** A port that says so many times that PostgreSQL starts, and then refuses. */
async function starting(times: number): Promise<number> {
  let told = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(STARTING));
    told += 1;
    if (told === times) server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  if (times === 0) await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('a connection that is waited for', () => {
  it.each([
    [
      'refuses',
      async () => ({ host: '127.0.0.1', port: await starting(0) }),
      /^PostgreSQL does not answer at DB_HOST:DB_PORT yet/,
    ],
    [
      'has no address',
      async () => ({ host: 'no-such-host.invalid' }),
      /^The name in DB_HOST (is not known|cannot be looked up) yet/,
    ],
  ])('ends with what to check where the server %s all the time', async (_, where, sentence) => {
    const error = await connectWhenItAnswers(await where(), SILENCE_MS).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(FatalError);
    expect((error as Error).message).toMatch(sentence);
    expect((error as Error).message).toMatch(/yet\. That did not change .* Check DB_HOST and DB_PORT/);
    expect(lines().length).toBeGreaterThan(0);
    for (const line of lines()) expect(line).toMatch(sentence);
  });

  it('does not give up a server that says that it starts, however long that takes', async () => {
    const port = await starting(4);
    await expect(connectWhenItAnswers({ host: '127.0.0.1', port, user: 'x' }, SILENCE_MS)).rejects.toThrow(
      /^PostgreSQL does not answer/,
    );
    // Three seconds of them: twice as long as silence is waited for.
    expect(lines().filter((line) => line.startsWith('PostgreSQL is starting up'))).toHaveLength(4);
  });
});
