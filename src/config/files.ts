// The files that variables name.
import { readFileSync, statSync } from 'node:fs';
import { FatalError } from '../fatal.ts';

/** Of a file with a secret or certificates; all that the world trusts are a quarter of it. */
const MOST_BYTES = 1024 * 1024;

/** Throws a FatalError that names the variable, and never the path. */
export function readFile(variable: string, path: string): string {
  try {
    // A device or a pipe may have no end.
    const file = statSync(path);
    if (!file.isFile() || file.size > MOST_BYTES)
      throw Object.assign(new Error(), { code: 'no file of a megabyte at most' });
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new FatalError(`The file that ${variable} names cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}
