// The row of a query that always has one.

/** Throws where PostgreSQL gave none. */
export function onlyRow<Row>({ rows }: { readonly rows: readonly Row[] }): Row {
  const [row] = rows;
  if (row === undefined) throw new Error('PostgreSQL gave no row.');
  return row;
}
