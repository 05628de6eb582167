// Whether a test went red for the bug's sake: by a failed assertion or its own deadline, and not because nothing could run.
import type { NamedTest } from './mutant.ts';

/** The part of vitest's JSON report that counts. https://vitest.dev/guide/reporters.html#json-reporter */
export interface Report {
  readonly testResults: readonly {
    /** Path of the file. */
    readonly name: string;
    /** Why the file could not be loaded. */
    readonly message: string;
    readonly assertionResults: readonly {
      /** Of the describes around it, outermost first. */
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

export interface Verdict {
  readonly as: 'green' | 'red' | 'unclear';
  /** For people: what failed, or why nothing can be said. */
  readonly why: string;
}

/**
 * Of a test by its own words; a hook that failed, or an error that was thrown, says nothing about the bug. (An expect.poll
 * that runs out of time reads the same in a test and in a hook: a test that is named fails by an expect after it.)
 */
const BY_ASSERTION = /^AssertionError\b/;
const BY_DEADLINE = /^Error: Test timed out in /;

export function verdictOf(report: Report, { file, title }: NamedTest): Verdict {
  const result = report.testResults.find(({ name }) => name.replaceAll('\\', '/').endsWith(`/${file}`));
  if (!result) return { as: 'unclear', why: `${file} was not run.` };
  const [test, second] = result.assertionResults.filter(
    (test) => [...test.ancestorTitles, test.title].join(' > ') === title,
  );
  if (!test) return { as: 'unclear', why: `${file} has no test “${title}”. ${firstLine(result.message)}`.trim() };
  if (second) return { as: 'unclear', why: `${file} has several tests “${title}”.` };
  if (test.status === 'passed') return { as: 'green', why: '' };
  const messages = test.failureMessages ?? [];
  const own = messages.find((message) => BY_ASSERTION.test(message) || BY_DEADLINE.test(message));
  if (test.status === 'failed' && own) return { as: 'red', why: firstLine(own) };
  return { as: 'unclear', why: `The test is ${test.status}: ${firstLine(messages[0] ?? result.message)}` };
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
