// docs/database.md says which migration defines each function: made from sql/migrations.
// After a new migration: npm run snapshots

import { expect, test } from 'vitest';
import { definedFunctions } from './defined-functions.ts';
import { pathOf, table, withGenerated } from './document.ts';

const PAGE = 'docs/database.md';

test('the page says where each function is defined, and where its text counts no more', async () => {
  const functions = definedFunctions();
  const several = new Set(
    functions.map(({ name }) => name).filter((name) => functions.filter((each) => each.name === name).length > 1),
  );
  const rows = functions.map(({ name, types, file, before }) => [
    `\`${several.has(name) ? `${name}(${types})` : name}\``,
    `[${file}](../sql/migrations/${file})`,
    before.map((each) => each.slice(0, 3)).join(', '),
  ]);
  const page = withGenerated(PAGE, { functions: table(['Function', 'Defined in', 'No more in'], rows) });
  await expect(page).toMatchFileSnapshot(pathOf(PAGE));
});
