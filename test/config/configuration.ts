// A configuration as tests have it: what is needed is there, and faults come as lines.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { environmentSchema } from '../../src/config/environment.ts';
import { readConfig } from '../../src/config/read.ts';
import { FatalError } from '../../src/fatal.ts';

export const NEEDED = { DB_NAME: 'health', DB_USER: 'connector', FHIR_SERVER: 'https://fhir.example.com/fhir' };

export const read = (environment: Record<string, string>) =>
  readConfig(environmentSchema, { ...NEEDED, ...environment });

/** The lines of the error, without the first. */
export function faults(environment: Record<string, string | undefined>): string[] {
  try {
    readConfig(environmentSchema, environment);
  } catch (error) {
    expect(error).toBeInstanceOf(FatalError);
    const [title, ...lines] = (error as FatalError).message.split('\n');
    expect(title).toBe('The configuration is wrong:');
    return lines.map((line) => line.replace(/^ {2}- /, ''));
  }
  throw new Error('The configuration was accepted.');
}

/** A folder that is removed after the tests of the file. */
export function folderOfFiles(): { readonly path: string; file(name: string, content: string): string } {
  const path = mkdtempSync(join(tmpdir(), 'config-'));
  afterAll(() => rmSync(path, { recursive: true }));
  return {
    path,
    file(name, content) {
      writeFileSync(join(path, name), content);
      return join(path, name);
    },
  };
}
