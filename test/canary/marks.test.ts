// The search itself: it finds each kind of value in each spelling, and nothing in what has none.
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { Marks } from './marks.ts';

const marks = new Marks();
const name = marks.text('name');
const date = marks.birthDate();
const [, month = '', day = ''] = date.split('-');
const phone = marks.phone();
const reading = marks.reading();
const hash = (algorithm: string, text: string) => createHash(algorithm).update(text);

const SPELLINGS: [string, string][] = [
  ['a text', name],
  ['a text, in capitals', name.toUpperCase()],
  ['a text, in a URL', `Patient?identifier=urn%3Amrn%7C${encodeURIComponent(name)}`],
  ['a text, in JSON in JSON', JSON.stringify(JSON.stringify({ name }))],
  ['a text, in HTML', `<p>${name.replaceAll('"', '&quot;')}</p>`],
  ['a text, in hexadecimal', Buffer.from(`x${name}`).toString('hex')],
  ['a text, in UTF-16', Buffer.from(name, 'utf16le').toString('latin1')],
  ...['', 'a', 'ab'].map((before): [string, string] => [
    `a text, in base64 behind ${before.length} bytes`,
    Buffer.from(before + name).toString('base64'),
  ]),
  ['a text, in base64url', Buffer.from(`?>${name}`).toString('base64url')],
  ['the SHA-256 of a text', hash('sha256', name).digest('hex')],
  ['the MD5 of a text, in capitals', hash('md5', name).digest('hex').toUpperCase()],
  [
    'the SHA-256 of an identifier with its system',
    hash('sha256', `urn:mrn|${marks.hashed(name, 'urn:mrn')}`).digest('base64'),
  ],
  ['a phone number', phone],
  ['a phone number, digits alone', phone.replaceAll(/\D/g, '')],
  ['a phone number, with spaces', phone.replaceAll(/\d{3}/g, '$& ')],
  ['a reading', String(reading)],
  ['a reading, grouped', reading.toLocaleString('en-US')],
  ['a birth date', date],
  ['a birth date, digits alone', date.replaceAll('-', '')],
  ['a birth date, in German', `${day}.${month}.1702`],
  ['a birth date, in American', `${month}/${day}/1702`],
  ['a birth date, as JavaScript prints it', new Date(date).toString()],
  ['a birth date, as HTTP has it', new Date(date).toUTCString()],
  ['a birth date, in milliseconds', String(Date.parse(date))],
];

test.each(SPELLINGS)('%s is found', (_, text) => {
  expect(marks.leaksIn(`{"msg":"a line ${text}"}`)).not.toEqual([]);
});

test('nothing is found in what holds none', () => {
  const text = `{"level":30,"time":"${new Date(1764286000000).toISOString()}","txid":1702,"lsn":"0/1702A3","eventKey":"Patient/17/3"}`;
  expect(marks.leaksIn(text)).toEqual([]);
});
