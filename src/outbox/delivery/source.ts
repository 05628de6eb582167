// A row of the health tables as the key of what becomes of it.

/** A row that becomes a resource. */
export interface Source {
  readonly table: string;
  readonly sourceId: number;
}
