// The FHIR server: does it answer as FHIR R4, does it let us read, and does it offer what the configuration needs?
import { lacking, type Needs } from '../fhir/client/capabilities.ts';
import type { FhirClient } from '../fhir/client/fhir-client.ts';
import { type Finding, fault, ok, warning } from './finding.ts';

const ADDRESS = 'Check FHIR_SERVER (it ends before /Patient), and that the server runs and can be reached from here.';
const ENTRY =
  'See what the server, or a proxy before it, demands of who asks: credentials (FHIR_AUTH), a certificate (FHIR_CERT), an allowed address.';
const TOKEN = 'See docs/fhir-authorization.md for what each way needs; the log of the authorization server says more.';
/** By the fault's code, where the address is right. */
const MENDS: Readonly<Record<string, string>> = {
  unauthorized: ENTRY,
  forbidden: ENTRY,
  token: TOKEN,
  'token-refused': TOKEN,
  'no-token-endpoint': TOKEN,
};

export async function fhirFindings(fhir: FhirClient, needs: Needs): Promise<Finding[]> {
  const check = 'FHIR server';
  const answer = await fhir.capabilities();
  if (!answer.ok) {
    return [fault(check, answer.fault.reason, { say: MENDS[answer.fault.code] ?? ADDRESS })];
  }
  const sentences = lacking(answer.capabilities, needs);
  return [
    ok(check, `${answer.capabilities.software ?? 'A FHIR R4 server'} answers.`),
    ...(await read(fhir)),
    ...(sentences.length === 0
      ? [ok('FHIR capabilities', 'The server offers all that this configuration needs.')]
      : sentences.map((sentence) => lack(sentence))),
  ];
}

async function read(fhir: FhirClient): Promise<Finding[]> {
  const failed = await fhir.probe();
  if (failed === null) return [ok('FHIR search', 'The server lets Patient be searched.')];
  return [
    fault('FHIR search', failed.reason, {
      say: 'Allow this client to search, read and update Patient on the server.',
    }),
  ];
}

/** The sentence says what is lacking, what follows and what to set, in this order. */
function lack(sentence: string): Finding {
  const [found = sentence, ...rest] = sentence.split(/(?<=\.) (?=[A-Z])/);
  return warning('FHIR capabilities', found, { say: rest.join(' ') || 'Allow it on the server.' });
}
