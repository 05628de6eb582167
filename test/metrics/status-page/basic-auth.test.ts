// Who may read the status page: what counts as the right user and password, and what of the wrong ones the log tells.
import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { basicAuth } from '../../../src/metrics/status-page/basic-auth.ts';

const reader = { user: 'Zoë', password: 'p:a ß' };
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

function doorkeeper() {
  const lines: unknown[][] = [];
  const clock = { ms: 5 };
  const mayRead = basicAuth(reader, { warn: (...args: unknown[]) => void lines.push(args) }, () => clock.ms);
  const ask = (authorization?: string) =>
    mayRead({
      headers: authorization === undefined ? {} : { authorization },
      socket: { remoteAddress: '192.0.2.7' } as IncomingMessage['socket'],
    });
  return { ask, lines, clock };
}

test('the right user and password are taken, in UTF-8 and however the scheme is written', () => {
  const { ask, lines } = doorkeeper();
  for (const given of [basic('Zoë:p:a ß'), basic('Zoë:p:a ß').replace('Basic', 'bAsIc  ')])
    expect(ask(given)).toBe(true);
  expect(lines).toEqual([]);
});

test.each([
  ['another password', basic('Zoë:p:a ')],
  ['a longer password', basic('Zoë:p:a ß!')],
  ['another user', basic('Zoe:p:a ß')],
  ['the user alone', basic('Zoë')],
  ['nothing', 'Basic'],
  ['an empty user and password', basic(':')],
  ['what is no base64', 'Basic \u0000💥'],
  ['the same in another encoding', `Basic ${Buffer.from('Zoë:p:a ß', 'latin1').toString('base64')}`],
  ['another scheme', basic('Zoë:p:a ß').replace('Basic', 'Bearer')],
  ['the two, not encoded', 'Basic Zoë:p:a ß'],
])('%s is not taken', (_, given) => {
  const { ask, lines } = doorkeeper();
  expect(ask(given)).toBe(false);
  expect(lines).toHaveLength(1);
});

test('who gives no credentials is not taken, and nothing is said of it: so every visit begins', () => {
  const { ask, lines } = doorkeeper();
  expect(ask()).toBe(false);
  expect(lines).toEqual([]);
});

test('wrong ones are logged with the address and their number, a line a minute, and never by what was given', () => {
  const { ask, lines, clock } = doorkeeper();
  for (let n = 0; n < 1000; n += 1) ask(basic('Zoë:hush'));
  expect(lines).toEqual([
    [{ remoteAddress: '192.0.2.7', tries: 1 }, 'Somebody asked for the status page with a wrong user or password.'],
  ]);
  clock.ms += 60_000;
  ask(basic('hush:hush'));
  expect(lines[1]?.[0]).toEqual({ remoteAddress: '192.0.2.7', tries: 1000 });
  clock.ms += 60_000;
  ask('hush');
  expect(lines[2]?.[0]).toEqual({ remoteAddress: '192.0.2.7', tries: 1 });
  expect(JSON.stringify(lines)).not.toContain('hush');
});
