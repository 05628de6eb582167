// What a mutant is: one bug, as exact replacements in the source, and the test that has to find it.

export interface Mutant {
  /** In kebab case: what `--only` takes. */
  readonly name: string;
  /** What the bug would do to patients' data. */
  readonly harm: string;
  readonly edits: readonly Edit[];
  readonly test: NamedTest;
}

interface Edit {
  /** Relative to the project. */
  readonly file: string;
  /** Occurs in the file exactly once. As short as it can be, so that changes beside it do no harm. */
  readonly find: string;
  readonly replace: string;
}

export interface NamedTest {
  readonly file: string;
  /** With the titles of the describes around it, as vitest prints it: `outer > inner > title`. */
  readonly title: string;
}

/** The source moved on, and the mutant does not describe a bug of it any more. */
export class Misfit extends Error {
  override readonly name = 'Misfit';
}

/** The file's text with its edits applied, one after the other. Throws a Misfit when one of them does not fit. */
export function mutate(mutant: Mutant, file: string, text: string): string {
  return mutant.edits
    .filter((edit) => edit.file === file)
    .reduce((changed, { find, replace }) => {
      const places = changed.split(find).length - 1;
      if (places !== 1)
        throw new Misfit(
          `The mutant ${mutant.name} does not fit any more: ${file} has the text to replace ${places} times instead of once:\n\n${find}\n\nAdapt the mutant (test/mutants) to the code; remove it only if the code that it breaks is gone.`,
        );
      return changed.replace(find, () => replace);
    }, text);
}
