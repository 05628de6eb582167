// Which migration defines each function now: the last one that has it, unless a later one drops it.

import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';

export interface DefinedFunction {
  readonly name: string;
  /** As `oidvectortypes` has them: `bigint, text`. */
  readonly types: string;
  /** The file of the last definition. */
  readonly file: string;
  /** Those of the definitions before, perhaps with other arguments, whose text counts no more. */
  readonly before: readonly string[];
}

const STATEMENT =
  /^(?:CREATE (?:OR REPLACE )?FUNCTION public\.(\w+)\(([\s\S]*?)\)\s+(?:RETURNS|LANGUAGE)|DROP FUNCTION IF EXISTS public\.(\w+)\((.*)\);)/gm;

export function definedFunctions(): DefinedFunction[] {
  const defined = new Map<string, DefinedFunction>();
  const dropped = new Map<string, readonly string[]>();
  for (const path of globSync('sql/migrations/*.sql').toSorted()) {
    const file = basename(path);
    for (const [, name, args = '', gone = '', types = ''] of readFileSync(path, 'utf8').matchAll(STATEMENT)) {
      if (name === undefined) {
        const former = defined.get(`${gone}(${types})`);
        if (former) dropped.set(gone, [...former.before, former.file]);
        defined.delete(`${gone}(${types})`);
        continue;
      }
      const of = { name, types: typesOf(args) };
      const key = `${name}(${of.types})`;
      const known = defined.get(key);
      const before = (known ? [...known.before, known.file] : (dropped.get(name) ?? [])).filter(
        (each) => each !== file,
      );
      defined.set(key, { ...of, file, before });
    }
  }
  return [...defined.values()].toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ name, types }: DefinedFunction): string {
  return `${name}(${types})`;
}

/** `id bigint, days integer DEFAULT 90, OUT n integer` → `bigint, integer` */
function typesOf(args: string): string {
  return args
    .split(',')
    .map((arg) => arg.replace(/\bDEFAULT\b[\s\S]*/, '').trim())
    .filter((arg) => arg !== '' && !arg.startsWith('OUT '))
    .map((arg) =>
      arg.split(/\s+/).slice(1).join(' ').replace('public.', '').replace('timestamptz', 'timestamp with time zone'),
    )
    .join(', ');
}
