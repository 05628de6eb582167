// The files that variables name.
import { closeSync, openSync, readSync } from 'node:fs';
import { FatalError } from '../fatal.ts';

/** Bundles of certificates have a quarter of it. What has no end, such as a device, is not read for ever. */
const MOST_BYTES = 1024 * 1024;

/** Throws a FatalError that names the variable, and never the path. */
export function readFile(variable: string, path: string): string {
  try {
    return readWhole(path);
  } catch (error) {
    const { code = 'larger than 1 MB' } = error as NodeJS.ErrnoException;
    throw new FatalError(`The file that ${variable} names cannot be read (${code}).`);
  }
}

function readWhole(path: string): string {
  const descriptor = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(MOST_BYTES + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(descriptor, buffer, length, buffer.length - length, null);
    if (length > MOST_BYTES) throw new RangeError('The file is too large.');
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(descriptor);
  }
}
