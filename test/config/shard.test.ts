// Which shard a process is: by SHARD_INDEX, or by the number at the end of its host's name.
import { describe, expect, it } from 'vitest';
import { shardOf } from '../../src/config/shard.ts';
import { read } from './configuration.ts';

describe('shardOf', () => {
  const shard = (environment: Record<string, string>, host = 'db-host') => shardOf(read(environment), host);

  it('is all where there is one', () => {
    expect(shard({})).toEqual({ index: 0, count: 1 });
    expect(shard({}, 'fhir-connector-3')).toEqual({ index: 0, count: 1 });
  });

  it('is what SHARD_INDEX says, or the number of the pod: of twice as many each shard has two', () => {
    expect(shard({ SHARD_COUNT: '4', SHARD_INDEX: '2' }, 'fhir-connector-1')).toEqual({ index: 2, count: 4 });
    expect(shard({ SHARD_COUNT: '4' }, 'fhir-connector-3')).toEqual({ index: 3, count: 4 });
    expect(shard({ SHARD_COUNT: '4' }, 'fhir-connector-7')).toEqual({ index: 3, count: 4 });
  });

  it.each([
    [{ SHARD_COUNT: '4' }, 'SHARD_INDEX is not set, and the name of this host does not end in a number'],
    [{ SHARD_COUNT: '4', SHARD_INDEX: '4' }, 'SHARD_INDEX must be less than SHARD_COUNT, which is 4'],
    [{ SHARD_INDEX: '1' }, 'SHARD_INDEX must be less than SHARD_COUNT, which is 1'],
    [{ SHARD_COUNT: '10', SHARD_INDEX: '0', SLOT_NAME: 's'.repeat(56) }, 'SLOT_NAME is too long'],
  ])('is refused for %j', (environment, sentence) => {
    expect(() => shard(environment)).toThrow(sentence);
  });
});
