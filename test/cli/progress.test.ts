// Progress: a bar on a terminal, lines elsewhere.
import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createProgress } from '../../src/cli/progress.ts';

function streamOf(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  const stream = Object.assign(new PassThrough(), {
    isTTY,
    columns: 200,
    cursorTo() {},
    clearLine() {},
    moveCursor() {},
  });
  let text = '';
  stream.on('data', (chunk) => {
    text += String(chunk);
  });
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => text };
}

describe('the progress of a command', () => {
  it('is a bar with the time left and what it waits for, on a terminal', async () => {
    const { stream, text } = streamOf(true);
    const progress = createProgress(stream);
    progress.update('Emitting', 0, 200, '0 patients emitted');
    progress.update('Emitting', 100, 200, '70 patients emitted');
    progress.waiting('Waiting for something.');
    await expect.poll(text).toMatch(/Emitting .*50 %, .* left {2}70 patients emitted {2}Waiting for something\./);
    progress.update('Settling', 0, null);
    await expect.poll(text).toContain('Settling');
    progress.end();
  });

  it('is a line for each step, and for what it waits for, anywhere else', async () => {
    const { stream, text } = streamOf(false);
    const progress = createProgress(stream);
    progress.update('Emitting', 0, 200);
    progress.update('Emitting', 100, 200, '70 patients emitted');
    progress.waiting('Waiting for something.');
    progress.waiting(null);
    progress.update('Settling', 0, null);
    progress.end();
    await expect.poll(text).toBe('Emitting 0 of 200\nWaiting for something.\nSettling\n');
  });
});
