// The one fault table: what can go wrong between the connector and the FHIR server, what is then done, and what to
// tell the operator. The first row that fits decides, https://hl7.org/fhir/R4/http.html ; docs are made from it too.

/** What was asked. The same status means different things: 412 is "stale" by id, "several match" by identifier. */
export type Operation =
  | 'conditional-put'
  | 'put-by-id'
  | 'transaction'
  | 'delete-by-id'
  | 'search'
  | 'read'
  | 'probe'
  | 'metadata';

/**
 * What becomes of the delivery. `hold`: the server refuses everything; `conflict`, `gone`: look, then write again;
 * `halve`: of a Bundle, whose halves are sent, until what is refused stands alone.
 */
export type Disposition = 'retry' | 'dead-letter' | 'hold' | 'conflict' | 'gone' | 'halve';

/** Whether a failure uses up one of the event's attempts: an outage must not. */
export type Attempt = 'counts' | 'never' | 'if-server-answers';

/** Failures that are no answer of a FHIR server, or an answer that cannot be read as one. */
export type Cause =
  | 'timeout'
  | 'tls'
  | 'unreachable'
  | 'network'
  | 'token'
  | 'token-refused'
  | 'no-token-endpoint'
  | 'insufficient-scope'
  | 'not-fhir'
  | 'not-r4'
  | 'several-found'
  | 'not-several'
  | 'another-resource'
  | 'search-ignored'
  | 'bundle-unreadable'
  | 'answer-too-large';

interface Action {
  readonly disposition: Disposition;
  readonly attempt: Attempt;
  /** No new sends until a probe succeeds. */
  readonly stopsSends: boolean;
}

export interface FaultRow extends Action {
  /** Stable name, in logs and as metric label. `http-*` stands for the status itself: http-503. */
  readonly code: string;
  readonly on: readonly Operation[] | 'any';
  /** A cause; or HTTP statuses (5xx: each of them), perhaps only together with one of these HAPI error codes. */
  readonly match: Cause | { readonly status: readonly string[]; readonly hapi?: readonly string[] };
  /** The situation in words, for the documentation. */
  readonly when: string;
  /** For the operator: what happened and what to do. */
  readonly sentence: string;
}

const READS: readonly Operation[] = ['search', 'read', 'probe', 'metadata'];
const RETRY: Action = { disposition: 'retry', attempt: 'counts', stopsSends: false };
const HOLD: Action = { disposition: 'hold', attempt: 'never', stopsSends: false };
const DEAD_LETTER: Action = { disposition: 'dead-letter', attempt: 'counts', stopsSends: false };
const CONFLICT: Action = { disposition: 'conflict', attempt: 'counts', stopsSends: false };
const HALVE: Action = { disposition: 'halve', attempt: 'never', stopsSends: false };
const GONE: Action = { disposition: 'gone', attempt: 'counts', stopsSends: false };
/** Nobody knows yet whether it is the server or this patient: a write that always times out must end some day. */
const OUTAGE: Action = { disposition: 'retry', attempt: 'if-server-answers', stopsSends: true };
/** Certainly not this patient's fault. */
const CLOSED: Action = { disposition: 'retry', attempt: 'never', stopsSends: true };

// biome-ignore format: a table is read row by row; formatted, each row would take ten lines
export const FAULT_TABLE: readonly FaultRow[] = [
  // No answer. Whether the write was applied is unknown, unless the server was never reached.
  { code: 'timeout', on: 'any', match: 'timeout', ...OUTAGE,
    when: 'No complete answer within FHIR_TIMEOUT_MS',
    sentence: 'The FHIR server did not answer in time.' },
  { code: 'tls', on: 'any', match: 'tls', ...CLOSED,
    when: 'The TLS handshake fails, or the certificate is not trusted',
    sentence: 'TLS with the FHIR server fails or its certificate is not trusted: check FHIR_SERVER and FHIR_CA, and FHIR_CERT where it demands a certificate.' },
  { code: 'unreachable', on: 'any', match: 'unreachable', ...OUTAGE,
    when: 'No connection: refused, no such host, no route',
    sentence: 'The FHIR server cannot be reached: is it up, and is FHIR_SERVER right?' },
  { code: 'network', on: 'any', match: 'network', ...OUTAGE,
    when: 'The connection breaks before the answer is complete',
    sentence: 'The connection to the FHIR server broke.' },
  { code: 'token', on: 'any', match: 'token', ...CLOSED,
    when: 'The token endpoint gives no access token: it is away, it fails, or what answers is none',
    sentence: 'The token endpoint gives no access token for the FHIR server: is it up, and is its address (FHIR_TOKEN_URL) right?' },
  { code: 'token-refused', on: 'any', match: 'token-refused', ...CLOSED,
    when: 'The authorization server refuses the client or what it asks for',
    sentence: 'The authorization server refuses an access token: check FHIR_CLIENT_ID, its secret or key (FHIR_KEY_ID), and FHIR_SCOPE.' },
  { code: 'no-token-endpoint', on: 'any', match: 'no-token-endpoint', ...CLOSED,
    when: 'The SMART configuration below FHIR_SERVER is missing, or names no token endpoint that may be asked',
    sentence: "The FHIR server's .well-known/smart-configuration names no token endpoint with https: set FHIR_TOKEN_URL." },

  // Answers that every patient would meet: hold, and dead-letter nobody.
  { code: 'not-fhir', on: 'any', match: 'not-fhir', ...HOLD,
    when: "An answer that is not FHIR: a login page, a proxy's 404, a 200 without a resource",
    sentence: 'What answers is no FHIR server: check that FHIR_SERVER is the FHIR base URL, and any proxy before it.' },
  { code: 'not-r4', on: ['metadata'], match: 'not-r4', ...HOLD,
    when: 'The CapabilityStatement names another FHIR version than 4.0',
    sentence: 'The server speaks another version of FHIR: the connector needs R4 (4.0).' },
  { code: 'search-ignored', on: ['search'], match: 'search-ignored', ...HOLD,
    when: 'A search by identifier finds resources that do not have it',
    sentence: 'The FHIR server ignores the search parameter identifier: nothing can be written to it safely.' },
  { code: 'unauthorized', on: 'any', match: { status: ['401'] }, ...HOLD,
    when: 'The credentials are not accepted, a renewed access token neither',
    sentence: 'The FHIR server does not let the connector in: check FHIR_AUTH and what it demands of its clients.' },

  { code: 'insufficient-scope', on: 'any', match: 'insufficient-scope', ...HOLD,
    when: 'The access token does not allow it: 403 with insufficient_scope',
    sentence: 'The access token does not allow this: give the client the scopes of docs/fhir-authorization.md on the authorization server, or set FHIR_SCOPE.' },
  { code: 'http-*', on: 'any', match: { status: ['431'] }, ...HOLD,
    when: 'The headers are too long for the server: so is the access token',
    sentence: 'The access token is too long for the FHIR server, or for a proxy before it.' },

  // The server wants patience, and says for how long with Retry-After.
  { code: 'http-*', on: 'any', match: { status: ['408'] }, ...RETRY, attempt: 'never',
    when: 'The server gave up waiting for the request',
    sentence: 'The FHIR server gave up waiting for the request.' },
  { code: 'http-*', on: 'any', match: { status: ['429'] }, ...RETRY, attempt: 'never',
    when: 'Too many requests',
    sentence: 'The FHIR server asks for fewer requests: FHIR_CONCURRENCY may be too high.' },

  // A transaction Bundle, https://hl7.org/fhir/R4/http.html#transaction : one of its PUTs may be to blame, or the Bundle itself.
  { code: 'bundle-refused', on: ['transaction'], match: { status: ['3xx', '4xx', '501'] }, ...HALVE,
    when: 'The Bundle is refused: for one of its PUTs, or because the server takes no such Bundle',
    sentence: 'The FHIR server refuses the Bundle.' },
  { code: 'bundle-unreadable', on: ['transaction'], match: 'bundle-unreadable', ...RETRY, attempt: 'never',
    when: 'A success that does not say of each PUT what became of it, and where',
    sentence: 'The FHIR server does not say what became of each write in the Bundle.' },

  { code: 'redirect', on: 'any', match: { status: ['3xx'] }, ...HOLD,
    when: 'A redirect; none is followed',
    sentence: 'The base URL redirects: set FHIR_SERVER to the address that it redirects to.' },
  { code: 'forbidden', on: ['conditional-put', ...READS], match: { status: ['403'] }, ...HOLD,
    when: 'The account may not do this',
    sentence: "The FHIR server forbids it: the connector's account lacks a right that it needs there." },
  { code: 'no-capability-statement', on: ['metadata'], match: { status: ['400', '404', '405', '410'] }, ...HOLD,
    when: 'No CapabilityStatement below FHIR_SERVER: a server that is starting answers so too',
    sentence: 'The FHIR server answers, but has no CapabilityStatement at FHIR_SERVER/metadata: it is starting, or FHIR_SERVER is not the base URL, such as https://fhir.example.com/fhir.' },
  { code: 'not-supported', on: ['conditional-put', 'search', 'probe', 'metadata'],
    match: { status: ['404', '405', '501'] }, ...HOLD,
    when: 'The server does not know the address, or does no conditional update',
    sentence: 'The FHIR server does not do this: is FHIR_SERVER its base URL, does it do conditional update?' },

  { code: 'media-type', on: 'any', match: { status: ['406', '415'] }, ...HOLD,
    when: 'The server takes or gives no FHIR R4 in JSON at this address',
    sentence: 'The FHIR server speaks no R4 in JSON there: set FHIR_SERVER to the base URL that it has for R4.' },

  // By id: the link is out of date. 405: no such resource, and clients may not choose ids; HAPI says it with a 400.
  { code: 'gone', on: ['put-by-id', 'read'], match: { status: ['404', '410'] }, ...GONE,
    when: 'The linked resource is not there any more',
    sentence: 'The linked resource is not on the FHIR server any more.' },
  { code: 'gone', on: ['put-by-id'], match: { status: ['405'] }, ...GONE,
    when: 'The linked resource is not there any more, and the server lets no client choose an id',
    sentence: 'The linked resource is not on the FHIR server any more.' },
  { code: 'gone', on: ['put-by-id'], match: { status: ['400'], hapi: ['HAPI-0960'] }, ...GONE,
    when: 'The linked resource is not there any more, and was named by the server (HAPI)',
    sentence: 'The linked resource is not on the FHIR server any more.' },
  { code: 'stale-version', on: ['put-by-id'], match: { status: ['409', '412'] }, ...CONFLICT,
    when: 'If-Match names an older version (409 on HAPI, 412 elsewhere)',
    sentence: 'The resource was changed on the FHIR server by somebody else.' },

  // By identifier, https://hl7.org/fhir/R4/http.html#cond-update
  { code: 'several-matches', on: ['conditional-put'], match: { status: ['412'] }, ...DEAD_LETTER,
    when: 'Several resources have the identifier',
    sentence: 'Several resources on the FHIR server have this identifier: merge them there, then dlq replay.' },
  { code: 'several-matches', on: 'any', match: 'several-found', ...DEAD_LETTER,
    when: 'A search finds several resources with the identifier',
    sentence: 'Several resources on the FHIR server have this identifier: merge them there, then dlq replay.' },
  { code: 'not-several', on: ['conditional-put'], match: 'not-several', ...RETRY,
    when: 'Refused as for several matches (412), while a search finds one or none: two writes met (Aidbox)',
    sentence: 'The FHIR server refused the write as if several resources had this identifier, and has one or none.' },
  { code: 'another-resource', on: ['conditional-put'], match: 'another-resource', ...RETRY,
    when: 'The answer to a write by identifier holds a resource that does not have the identifier',
    sentence: 'The FHIR server answers a write with the resource of somebody else: nothing can be linked to it.' },
  { code: 'create-race', on: ['conditional-put'], match: { status: ['409'] }, ...RETRY,
    when: 'Another write creates the resource at the same moment',
    sentence: 'Another write created the resource at the same moment.' },
  { code: 'create-race', on: ['conditional-put'],
    match: { status: ['500'], hapi: ['HAPI-0550', 'HAPI-0823', 'HAPI-0824', 'HAPI-0989'] }, ...RETRY,
    when: 'Another write creates the resource at the same moment (HAPI)',
    sentence: 'Another write created the resource at the same moment.' },

  // Deletes. Already gone (404, 410) is no fault.
  { code: 'referenced', on: ['delete-by-id'], match: { status: ['409'] }, ...DEAD_LETTER,
    when: 'Other resources refer to the one to delete',
    sentence: 'Other resources refer to this one, so it was not deleted: remove them, or set FHIR_DELETE=deactivate; then dlq replay.' },
  { code: 'delete-not-allowed', on: ['delete-by-id'], match: { status: ['405', '501'] }, ...DEAD_LETTER,
    when: 'The server allows no deletes',
    sentence: 'The FHIR server allows no deletes: set FHIR_DELETE=deactivate, then dlq replay.' },

  // The server, for now. Retry-After is honoured.
  { code: 'http-*', on: 'any', match: { status: ['503'] }, ...CLOSED,
    when: 'The server is not available',
    sentence: 'The FHIR server says that it is not available.' },
  { code: 'http-*', on: 'any', match: { status: ['502', '504'] }, ...OUTAGE,
    when: 'A proxy does not reach the server, or waits for it in vain',
    sentence: 'The proxy before the FHIR server gets no answer from it.' },
  { code: 'http-*', on: 'any', match: { status: ['5xx'] }, ...RETRY, attempt: 'if-server-answers',
    when: 'Any other failure of the server',
    sentence: 'The FHIR server failed.' },

  // The request or the resource itself.
  { code: 'validation', on: 'any', match: { status: ['400', '422'] }, ...DEAD_LETTER,
    when: 'The resource is not accepted',
    sentence: 'The FHIR server does not accept the resource: dlq show names what it objects to.' },
  { code: 'answer-too-large', on: 'any', match: 'answer-too-large', ...DEAD_LETTER,
    when: 'The answer is larger than the connector reads',
    sentence: 'The answer of the FHIR server is larger than the connector reads: look at the resource there, then dlq replay.' },
  { code: 'http-*', on: 'any', match: { status: ['4xx'] }, ...DEAD_LETTER,
    when: 'Any other refusal',
    sentence: 'The FHIR server refuses the request: dlq show names the issues.' },
];
