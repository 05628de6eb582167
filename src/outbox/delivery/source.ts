// A row of the health tables, named by its table and id.

/** A row that becomes a resource of its own: the key of its link. */
export interface Source {
  readonly table: string;
  readonly sourceId: number;
}
