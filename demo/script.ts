// A file of plain SQL as its single statements, so that each is a transaction of its own, as psql -f runs it.

/** Comments stay with the statement that follows. Knows quotes, not dollar quotes or psql's own commands. */
export function statementsOf(script: string): string[] {
  const pieces = script.match(/'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|;|[^;]/g) ?? [];
  const statements = [''];
  for (const piece of pieces) {
    if (piece === ';') statements.push('');
    else statements.push(`${statements.pop()}${piece}`);
  }
  return statements.map((text) => text.trim()).filter((text) => withoutComments(text) !== '');
}

/** On one line, for people. */
export function withoutComments(statement: string): string {
  return statement
    .replace(/('(?:[^']|'')*')|--[^\n]*|\/\*[\s\S]*?\*\//g, (_, quoted: string | undefined) => quoted ?? ' ')
    .replace(/\s+/g, ' ')
    .trim();
}
