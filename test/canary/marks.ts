// Values that occur nowhere else, for every column of a patient, and the search that finds one in a text, however it is spelled.
import { createHash } from 'node:crypto';

/** What all marked texts have in common: letters and digits alone, so that no encoding of characters takes it apart. */
const STEM = 'QzCanary';
/** Ten digits in all: no clock, no LSN and no size of this century begins with them. */
const READING = '184720';
const PHONE = '918473650';
const YEAR = '1702';
const ALGORITHMS = ['md5', 'sha1', 'sha256', 'sha512'] as const;

export interface Leak {
  readonly what: string;
  /** Some of the text around it. */
  readonly where: string;
}

export class Marks {
  readonly #made: string[] = [];
  /** Digests of what identifies somebody: a plain hash is undone by trying out all numbers. */
  readonly #digests = new Map<string, string>();
  readonly #patterns: readonly (readonly [string, RegExp])[] = [
    ['a text', new RegExp(STEM, 'i')],
    ['a text in base64', new RegExp([STEM, STEM.toLowerCase(), STEM.toUpperCase()].flatMap(inBase64).join('|'))],
    ['a text in hexadecimal', new RegExp([STEM, STEM.toLowerCase(), STEM.toUpperCase()].map(hex).join('|'), 'i')],
    ['a text in UTF-16', new RegExp([...STEM].join('(?:\\0|\\\\u0000|%00)'), 'i')],
    [
      'a reading',
      // Digits of an id of a trace have others, or letters, beside them.
      new RegExp(`(?<![\\da-f])${[...READING, ...'####'].join("[,.'_ ]?").replaceAll('#', '\\d')}(?![\\da-f])`, 'i'),
    ],
    ['a phone number', new RegExp([...PHONE].join('[-. ()]{0,2}'))],
    [
      'a birth date',
      new RegExp(
        [
          `${YEAR}[-/. ](?:0?3|Mar)`,
          `(?<!\\d)${YEAR}03\\d\\d(?!\\d)`,
          `(?:0?3|Mar\\w*)[-/., ]{1,2}(?:\\d{1,2}[-/., ]{1,2})?${YEAR}(?!\\d)`,
          ...Array.from({ length: 28 }, (_, day) => String(Date.UTC(Number(YEAR), 2, day + 1) / 1000)),
        ].join('|'),
      ),
    ],
  ];

  /** `column` in letters; what a JSON text, a URL and HTML have to escape is behind it. */
  text(column: string): string {
    const name = column.replaceAll(/[^a-z]/gi, '');
    return this.#note(`${STEM}${name}${this.#next()} "ö<'&\\|$,`);
  }

  /** Of letters and digits alone: it could be the id of a resource. */
  word(column: string): string {
    return this.#note(`${STEM}${column.replaceAll(/[^a-z]/gi, '')}${this.#next()}`);
  }

  phone(): string {
    return this.#note(`+1-${PHONE}${this.#next()}`);
  }

  reading(): number {
    return Number(this.#note(`${READING}${this.#next()}`));
  }

  birthDate(): string {
    return this.#note(`${YEAR}-03-${String(1 + (this.#made.length % 28)).padStart(2, '0')}`);
  }

  /** The first of each kind that the text holds; none when it is clean. */
  leaksIn(text: string): Leak[] {
    const found = this.#patterns.flatMap(([what, pattern]) => {
      const at = text.search(pattern);
      return at < 0 ? [] : [{ what, where: around(text, at) }];
    });
    for (const { 0: token, index } of text.matchAll(/[0-9a-f]{32,}|[A-Za-z0-9+/_-]{22,}/gi)) {
      const whose = this.#digests.get(token) ?? this.#digests.get(token.toLowerCase());
      if (whose) found.push({ what: whose, where: around(text, index) });
    }
    return found;
  }

  /** `system`: of an identifier, which is hashed together with its value as well. */
  hashed(value: string, system = ''): string {
    for (const algorithm of ALGORITHMS)
      for (const text of [value, value.toLowerCase(), `${system}|${value}`, `${system}${value}`])
        for (const encoding of ['hex', 'base64', 'base64url'] as const)
          this.#digests.set(
            createHash(algorithm).update(text).digest(encoding).replace(/=+$/, ''),
            `the ${algorithm} of a value`,
          );
    return value;
  }

  #note(value: string): string {
    this.#made.push(value);
    this.hashed(value);
    return value;
  }

  #next(): string {
    return String(this.#made.length).padStart(4, '0');
  }
}

/** Wherever it stands in what is encoded: the characters that do not depend on what is beside it. */
function inBase64(text: string): string[] {
  return [0, 1, 2].map((before) => {
    const whole = Buffer.from('\0'.repeat(before) + text).toString('base64');
    const from = Math.ceil((before * 4) / 3);
    return whole
      .slice(from, Math.floor(((before + text.length) * 4) / 3))
      .replaceAll('+', '[+-]')
      .replaceAll('/', '[/_]');
  });
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}

function around(text: string, at: number): string {
  return text.slice(Math.max(0, at - 160), at + 120).replaceAll(/\s+/g, ' ');
}
