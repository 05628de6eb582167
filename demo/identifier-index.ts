// Which resources carry an identifier: the search parameter `identifier` of the demonstration's FHIR server.

import type { Identifier, Resource } from '@medplum/fhirtypes';

type Identified = { resourceType: string; id?: string; identifier?: Identifier | Identifier[] };

/** https://hl7.org/fhir/R4/search.html#token : system|value, |value (no system), value (any system), system| (any value) */
export class IdentifierIndex {
  /** Type, then system and value (or half of them), as JSON → ids. */
  readonly #ids = new Map<string, Set<string>>();

  replace(before: Resource | null, after: Resource | null): void {
    if (before) for (const key of keysOf(before)) this.#ids.get(key)?.delete(before.id ?? '');
    if (after) for (const key of keysOf(after)) this.#of(key).add(after.id ?? '');
  }

  /** The ids of the resources that match one of the tokens, with commas between them and backslashes as escapes. */
  find(type: string, parameter: string): Set<string> {
    return splitAt(',', parameter)
      .map((token) => splitAt('|', token).map(withoutEscapes))
      .map(([first = '', value]) => {
        if (value === undefined) return keyOf(type, null, first);
        return value === '' ? keyOf(type, first, null) : keyOf(type, first, value);
      })
      .map((key) => this.#ids.get(key) ?? new Set<string>())
      .reduce((one, other) => one.union(other));
  }

  #of(key: string): Set<string> {
    const ids = this.#ids.get(key) ?? new Set();
    this.#ids.set(key, ids);
    return ids;
  }
}

function keysOf(resource: Resource): string[] {
  const { resourceType, identifier = [] } = resource as Identified;
  return [identifier]
    .flat()
    .flatMap(({ system = '', value = '' }) => [
      keyOf(resourceType, system, value),
      keyOf(resourceType, null, value),
      keyOf(resourceType, system, null),
    ]);
}

function keyOf(type: string, system: string | null, value: string | null): string {
  return JSON.stringify([type, system, value]);
}

/** https://hl7.org/fhir/R4/search.html#escaping */
function splitAt(separator: ',' | '|', text: string): string[] {
  return text.split(separator === ',' ? /(?<=(?<!\\)(?:\\\\)*),/ : /(?<=(?<!\\)(?:\\\\)*)\|/);
}

function withoutEscapes(text: string): string {
  return text.replace(/\\([\\,$|])/g, '$1');
}
