// Mutants of how the connector gets in: the bugs by which patients' data or credentials go where they must not, or at the wrong time.
import type { Mutant } from './mutant.ts';

const TRANSPORT = 'test/fhir/transport.test.ts';
const TOKENS = 'test/fhir/authorization/access-tokens.test.ts';

export const ACCESS: readonly Mutant[] = [
  {
    name: 'sent-after-a-slow-token',
    harm: 'The token takes long, another connector takes the slot over meanwhile, and what is sent then is older than what that one sent.',
    edits: [
      {
        file: 'src/fhir/http/dispatch.ts',
        find: '      this.#mayBeSent();',
        replace: '      this.#mayBeSent.toString();',
      },
    ],
    test: {
      file: TRANSPORT,
      title: 'whether a request may be sent > is asked when its token is there, however long that took',
    },
  },
  {
    name: 'sent-after-a-slow-connection',
    harm: 'The connection takes long, another connector takes the slot over meanwhile, and what is written then is older than what that one sent.',
    edits: [
      {
        file: 'src/fhir/client/transport.ts',
        find: 'await dispatch(pool, options, request.maxBytes, deadline, request.mayBeSent)',
        replace: '(request.mayBeSent?.(), await dispatch(pool, options, request.maxBytes, deadline))',
      },
    ],
    test: {
      file: TRANSPORT,
      title: 'whether a request may be sent > is asked when its connection is there, however long that took',
    },
  },
  {
    name: 'broken-request-taken-for-not-sent',
    harm: 'A write that broke may have been carried out; taken for one that was not sent, what became of it is never looked at.',
    edits: [
      {
        file: 'src/fhir/client/transport.ts',
        find: 'if (broken === null) throw error.reason;',
        replace: 'if (broken === null || broken) throw error.reason;',
      },
    ],
    test: {
      file: TRANSPORT,
      title:
        'whether a request may be sent > is asked before a repeat on another connection, which otherwise is a broken one: it may have been carried out',
    },
  },
  {
    name: 'http-to-anywhere',
    harm: "Patients' data goes over the network as it is, for nobody noticed the missing s.",
    edits: [
      {
        file: 'src/fhir/http/secure-address.ts',
        find: 'allowHttp || isLoopback(hostname)',
        replace: 'allowHttp || isLoopback(hostname) || true',
      },
    ],
    test: {
      file: 'test/config/fhir-access.test.ts',
      title: 'an http address > of another machine is refused, unless FHIR_ALLOW_HTTP says so',
    },
  },
  {
    name: 'loopback-by-its-beginning',
    harm: "A database by the name of 127.db.example.com is taken for this machine, and patients' data goes there without TLS.",
    edits: [
      {
        file: 'src/loopback.ts',
        find: "(isIPv4(host) && host.startsWith('127.'))",
        replace: "(isIPv4('127.0.0.1') && host.startsWith('127.'))",
      },
    ],
    test: {
      file: 'test/config/database-tls.test.ts',
      title: 'TLS to PostgreSQL > is verified to 127.db.example.com',
    },
  },
  {
    name: 'http-token-endpoint-from-the-network',
    harm: 'Whoever answers for the FHIR server names a token endpoint without TLS, and reads what is sent there.',
    edits: [
      {
        file: 'src/fhir/authorization/token-client.ts',
        find: 'mayBeAsked(found.tokenEndpoint, allowHttp)',
        replace: 'mayBeAsked(found.tokenEndpoint, allowHttp || true)',
      },
    ],
    test: {
      file: 'test/fhir/authorization/token-client.test.ts',
      title:
        "by the FHIR server's SMART configuration > that names one with http on another machine there is no token, and nothing is sent",
    },
  },
  {
    name: 'each-request-asks-for-a-token',
    harm: 'The authorization server is flooded whenever a token ends, and locks the client out: nothing is delivered any more.',
    edits: [{ file: 'src/fhir/authorization/access-tokens.ts', find: 'this.#renewal ??=', replace: 'this.#renewal =' }],
    test: { file: TOKENS, title: 'a token > is asked for once, by whoever comes first, however many come' },
  },
  {
    name: 'each-refusal-asks-for-a-token',
    harm: 'A client that lost its rights asks for a token with each request: it is locked out for good.',
    edits: [
      {
        file: 'src/fhir/authorization/access-tokens.ts',
        find: 'performance.now() - held.askedAt < RENEWALS_APART_MS',
        replace: 'performance.now() < held.askedAt',
      },
    ],
    test: {
      file: TOKENS,
      title:
        'a token that the FHIR server refuses > is not renewed when it was asked for just now: another one would be refused as well',
    },
  },
];
