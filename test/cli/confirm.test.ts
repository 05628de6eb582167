// The question at the terminal: only a yes lets it go on, and where nobody can be asked it says how to go on.
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { confirm } from '../../src/cli/confirm.ts';

function terminal(isTTY = true) {
  const [stdin, stderr] = [new PassThrough(), new PassThrough()];
  return Object.assign({ stdin: Object.assign(stdin, { isTTY }), stderr: Object.assign(stderr, { isTTY }) });
}

describe('confirm', () => {
  it.each(['y', 'Y', 'yes', ' yes '])('goes on after %j', async (answer) => {
    const { stdin, stderr } = terminal();
    const asked = confirm('Discard it?', { stdin, stderr });
    stdin.write(`${answer}\n`);
    await expect(asked).resolves.toBeUndefined();
    stderr.end();
    expect(await text(stderr)).toContain('Discard it? [y/N]');
  });

  it.each(['', 'n', 'no', 'yess', 'discard'])('does nothing after %j', async (answer) => {
    const { stdin, stderr } = terminal();
    const asked = confirm('Discard it?', { stdin, stderr });
    stdin.write(`${answer}\n`);
    await expect(asked).rejects.toThrow('Nothing was done.');
  });

  it('does nothing when the terminal is closed instead of an answer', async () => {
    const { stdin, stderr } = terminal();
    const asked = confirm('Discard it?', { stdin, stderr });
    stdin.end();
    await expect(asked).rejects.toThrow('Nothing was done.');
  });

  it('names --yes where nobody can be asked', async () => {
    await expect(confirm('Discard it?', terminal(false))).rejects.toThrow(/nothing was done: add --yes/);
  });
});
