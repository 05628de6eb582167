// Reads a part of the environment: all faults at once, a sentence each, and secrets from files.
import { readFileSync, statSync } from 'node:fs';
import type { z } from 'zod';
import { FatalError } from '../fatal.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Each of these may be given as NAME_FILE, the path of a file that holds the value. */
export const SECRETS: readonly string[] = [
  'DB_PASSWORD',
  'FHIR_TOKEN',
  'FHIR_CLIENT_SECRET',
  'FHIR_PRIVATE_KEY',
  'STATUS_PASSWORD',
];

/** Of a file with a secret or certificates; all that the world trusts are a quarter of it. */
const MOST_BYTES = 1024 * 1024;

/** Throws a FatalError that names every fault, a sentence each; values are never repeated. */
export function readConfig<S extends z.ZodObject>(schema: S, environment: Environment): Readonly<z.infer<S>> {
  const faults: string[] = [];
  const parsed = schema.safeParse(withSecretFiles(environment, faults));
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    const missing = issue.code === 'invalid_type' && !environment[name];
    faults.push(missing ? `${name} is not set: ${schema.shape[name]?.description ?? ''}` : `${name} ${issue.message}.`);
  }
  if (faults.length > 0 || !parsed.success) throw wrong(faults);
  return Object.freeze(parsed.data);
}

/** `faults`: a sentence each. */
export function wrong(faults: readonly string[]): FatalError {
  return new FatalError(`The configuration is wrong:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
}

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

/** An empty variable counts as not set, as compose files leave them; so does an empty file. */
function withSecretFiles(environment: Environment, faults: string[]): Record<string, string> {
  const values = Object.fromEntries(
    Object.entries(environment).filter((entry): entry is [string, string] => !!entry[1]),
  );
  for (const name of SECRETS) {
    const file = values[`${name}_FILE`];
    if (file === undefined) continue;
    if (values[name] !== undefined) faults.push(`${name} and ${name}_FILE are both set: keep one.`);
    try {
      const secret = readFile(`${name}_FILE`, file).replace(/\r?\n$/, '');
      if (secret !== '') values[name] = secret;
    } catch (error) {
      faults.push((error as Error).message);
    }
  }
  return values;
}
