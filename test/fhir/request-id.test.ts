// The request id: equal for repeats, different for anything else, and short enough that HAPI keeps it whole.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requestId } from '../../src/fhir/client/request-id.ts';
import { anyCharacters } from './texts.ts';

describe('requestId', () => {
  it('is the beginning of SHA-256 of the event key followed by the body', () => {
    // printf '%s' 'Patient/7/3{"resourceType":"Patient"}' | sha256sum
    expect(requestId('Patient/7/3', '{"resourceType":"Patient"}')).toBe('0f6ea5e3adc8b85d');
  });

  it('takes the body as UTF-8', () => {
    // printf '%s' 'k{"family":"Müller🏥"}' | sha256sum
    expect(requestId('k', '{"family":"Müller🏥"}')).toBe('71fb5b3e75e24500');
  });

  it('differs by the event and by the body: a restored database gives an old key to a new state', () => {
    const ids = [
      requestId('Patient/7/3', '{"a":1}'),
      requestId('Patient/7/4', '{"a":1}'),
      requestId('Patient/7/3', '{"a":2}'),
      requestId('Patient/7/3', '{"a":1} '),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('is 16 hexadecimal digits and the same each time, whatever it is made of', () => {
    fc.assert(
      fc.property(fc.string(), anyCharacters, (key, body) => {
        const id = requestId(key, body);
        expect(id).toMatch(/^[0-9a-f]{16}$/);
        expect(requestId(key, body)).toBe(id);
      }),
    );
  });
});
