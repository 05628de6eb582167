// JSON as it comes from others: what is an object, and how deeply it may be nested.

export type Json = Record<string, unknown>;

/** Whatever walks through a resource calls itself at each level, and a stack has an end. As HAPI's own reader has it: https://github.com/FasterXML/jackson-core , StreamReadConstraints. FHIR needs some twenty. */
const MOST_LEVELS = 1000;

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Asked before JSON.parse, which itself has no such limit. What is no JSON may be called either. */
export function isNestedTooDeeply(json: string): boolean {
  // Most answers are shorter than that.
  if (json.length <= MOST_LEVELS) return false;
  let depth = 0;
  let inText = false;
  for (let at = 0; at < json.length; at += 1) {
    const character = json.charCodeAt(at);
    if (inText) {
      if (character === BACKSLASH) at += 1;
      else if (character === QUOTE) inText = false;
    } else if (character === QUOTE) inText = true;
    else if (character === OPEN_LIST || character === OPEN_OBJECT) {
      depth += 1;
      if (depth > MOST_LEVELS) return true;
    } else if (character === CLOSE_LIST || character === CLOSE_OBJECT) depth -= 1;
  }
  return false;
}
