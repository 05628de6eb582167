// Frames that PostgreSQL does not send: each is an error of the connection, before pg's parser meets it.
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { guardFrames } from '../../src/replication/stream/frame-guard.ts';

afterEach(() => {
  vi.useRealTimers();
});

function frame(type: string, content: Buffer | string, length?: number): Buffer {
  const bytes = Buffer.from(content as string, 'latin1');
  const header = Buffer.alloc(5);
  header.write(type);
  header.writeUInt32BE(length ?? bytes.length + 4, 1);
  return Buffer.concat([header, bytes]);
}

function guarded(parse: (chunk: Buffer) => void = () => undefined) {
  const stream = new PassThrough();
  const read: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => {
    read.push(chunk);
    parse(chunk);
  });
  const faults: Error[] = [];
  guardFrames(stream, (error) => faults.push(error));
  const write = async (bytes: Buffer) => {
    const came = once(stream, 'data');
    stream.write(bytes);
    await came;
  };
  return { stream, faults, write, bytesRead: () => Buffer.concat(read) };
}

describe('a frame', () => {
  it('is handed on as it came, wherever it was split', async () => {
    const frames = Buffer.concat([
      frame('W', '\0\0\0'),
      frame('d', 'k'.repeat(18)),
      frame('E', 'SFATAL\0C57P01\0MEnd.\0\0'),
      frame('d', ''),
    ]);
    const { faults, write, bytesRead } = guarded();
    for (const byte of frames) await write(Buffer.of(byte));
    await write(frames);
    expect(faults).toEqual([]);
    expect(bytesRead()).toEqual(Buffer.concat([frames, frames]));
  });

  it.each([
    ['of an unknown type', frame('x', 'y')],
    ['of a row, which nobody asked for', frame('D', '\xff\xff')],
    ['shorter than its own length', frame('d', '', 3)],
    ['longer than PostgreSQL makes any', frame('d', '', 0x4000_0000)],
    ['with an error that has no end', frame('E', 'SFATAL\0C57P01')],
    ['with an error whose last field has no end', frame('E', 'SFATAL\0C57P01\0')],
    ['with something behind the end of an error', frame('N', 'SFATAL\0\0S')],
    ['with a notice of megabytes', frame('N', '', 2 * 1024 * 1024)],
  ])('%s is not read', async (_, bytes) => {
    const { faults, write, bytesRead } = guarded();
    await write(bytes);
    expect(faults).toMatchObject([{ code: 'UNREADABLE_STREAM' }]);
    expect(bytesRead()).toEqual(Buffer.alloc(0));
    await write(frame('d', 'more'));
    expect(faults).toHaveLength(1);
    expect(bytesRead()).toEqual(Buffer.alloc(0));
  });

  it('that the parser cannot read is a fault, and ends nothing else', async () => {
    const { faults, write } = guarded(() => {
      throw new RangeError('out of range');
    });
    await write(frame('d', 'k'));
    expect(faults).toMatchObject([{ code: 'UNREADABLE_STREAM' }]);
  });

  it('that does not come whole is given up, but not while nobody reads, nor while it comes', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { stream, faults, write } = guarded();
    await write(frame('d', 'begun', 100_000_000));
    for (let second = 0; second < 30; second += 1) {
      await write(Buffer.alloc(70_000));
      vi.advanceTimersByTime(1000);
    }
    stream.pause();
    vi.advanceTimersByTime(120_000);
    expect(faults).toEqual([]);
    stream.resume();
    vi.advanceTimersByTime(20_000);
    expect(faults).toMatchObject([{ code: 'UNREADABLE_STREAM' }]);
  });
});
