// Whatever a row of the outbox holds.
import { expect, it } from 'vitest';
import { briefly, PATIENCE } from './brief.ts';
import { mustBeSentence, payloads } from './payloads.ts';

it(
  'whatever a row of fhir_outbox holds becomes the same resource each time, or is refused in a sentence without it',
  PATIENCE,
  () => briefly(payloads, 1000),
);

it.each(['', 'no end', 'A value ☃.', 'Two\nlines.'])('this test would see that %j is no such sentence', (reason) => {
  expect(() => mustBeSentence(reason)).toThrow();
});
