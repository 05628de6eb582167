// The environment: whatever it holds is a frozen configuration within its bounds, or one error for the operator that repeats no value.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { databaseClient } from '../../src/config/database.ts';
import { environmentSchema } from '../../src/config/environment.ts';
import { fhirAccess } from '../../src/config/fhir-access.ts';
import { readConfig } from '../../src/config/read.ts';
import { shardOf } from '../../src/config/shard.ts';
import { statusLogin } from '../../src/config/status-login.ts';
import { FatalError } from '../../src/fatal.ts';
import { CANARY, oddText } from './hostile-json.ts';
import { opened, type Surface } from './surface.ts';

const LONGEST_MS = 5000;
const NAMES = Object.keys(environmentSchema.shape);

const SOUND: Readonly<Record<string, string>> = {
  DB_NAME: 'app',
  DB_USER: 'connector',
  FHIR_SERVER: 'https://fhir.example.com/fhir',
};

const NUMBER = fc.oneof(
  fc.constantFrom(
    'NaN',
    'Infinity',
    '-Infinity',
    '1e3',
    '0x10',
    '0b1',
    ' 5 ',
    '5.5',
    '-0',
    '1e400',
    '00',
    '٣',
    '1_000',
    '+7',
    '',
    '5,',
    ',',
    '1,2',
  ),
  fc.double().map(String),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
);
const ADDRESS = fc.constantFrom(
  'https://user:☃@fhir.example.com/fhir',
  'https://fhir.example.com/fhir?token=☃',
  'https://fhir.example.com/fhir#☃',
  'http://',
  'http://[::1]:99999/',
  'ftp://fhir.example.com',
  'javascript:alert(1)',
  '//fhir.example.com',
  `https://fhir.example.com/${'/'.repeat(100_000)}x`,
  `https://fhir.example.com/fhir${'/'.repeat(100_000)}`,
  'https://fhir.example.com/\u0000',
  '/var/run/postgresql',
  'a,b,,c',
);

function configuration(folder: string): fc.Arbitrary<Record<string, string | undefined>> {
  const file = fc.constantFrom(
    '/dev/zero',
    '/dev/random',
    '/dev/stdin',
    '/proc/self/mem',
    '/',
    folder,
    join(folder, 'secret'),
    join(folder, 'large'),
    join(folder, 'loop'),
    join(folder, 'none'),
    `${folder}/\u0000`,
    'x'.repeat(5000),
  );
  const name = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...NAMES) },
    { weight: 2, arbitrary: fc.constantFrom(...NAMES).map((each) => `${each}_FILE`) },
    { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'PATH') },
  );
  const entry = name.chain((each) =>
    fc.tuple(
      fc.constant(each),
      each.endsWith('_FILE') || /CERT|KEY/.test(each) ? fc.oneof(file, oddText) : fc.oneof(NUMBER, ADDRESS, oddText),
    ),
  );
  return fc.array(entry, { maxLength: 6 }).map((entries) => ({ ...SOUND, ...Object.fromEntries(entries) }));
}

function holds(environment: Record<string, string | undefined>): void {
  const started = performance.now();
  try {
    const config = readConfig(environmentSchema, environment);
    assert.ok(Object.isFrozen(config));
    // What was read is what the schema itself would take again: it is within its bounds.
    for (const [name, value] of Object.entries(config)) {
      if (typeof value === 'number') assert.ok(Number.isSafeInteger(value), name);
    }
    const { index, count } = shardOf(config, 'host-99999999999999999999999');
    assert.ok(Number.isSafeInteger(index) && index >= 0 && index < count);
    databaseClient(config);
    statusLogin(config);
    fhirAccess(config);
  } catch (error) {
    if (!(error instanceof FatalError)) throw error;
    assert.ok(!error.message.includes(CANARY), 'A value is repeated.');
    assert.ok(/[A-Z]+_[A-Z_]+/.test(error.message), 'No variable is named.');
    assert.ok(error.message.length < 10_000, 'The message is long.');
  }
  assert.ok(performance.now() - started < LONGEST_MS, 'It took long.');
}

export const environment: Surface = {
  name: 'configuration',
  async open() {
    const folder = mkdtempSync(join(tmpdir(), 'fhir-connector-fuzz-'));
    writeFileSync(join(folder, 'secret'), `${CANARY}\n`);
    writeFileSync(join(folder, 'large'), 'x'.repeat(3 * 1024 * 1024));
    symlinkSync(join(folder, 'loop'), join(folder, 'loop'));
    return opened(configuration(folder), holds, async () => rmSync(folder, { recursive: true }));
  },
};
