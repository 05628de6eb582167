// Medplum's in-memory FHIR repository, made to behave as a server with a database: versions, history, tombstones, validation.

import {
  type Filter,
  gone,
  notFound,
  OperationOutcomeError,
  Operator,
  type SearchRequest,
  validateResource,
  type WithId,
} from '@medplum/core';
import {
  type CreateResourceOptions,
  type DeleteResourceOptions,
  FhirRepository,
  MemoryRepository,
  type ReadHistoryOptions,
  type UpdateResourceOptions,
} from '@medplum/fhir-router';
import type { Bundle, Resource } from '@medplum/fhirtypes';
import { IdentifierIndex } from './identifier-index.ts';

interface Version {
  readonly versionId: string;
  readonly at: string;
  readonly method: 'POST' | 'PUT' | 'DELETE';
  /** Null: the version in which it was deleted. */
  readonly resource: WithId<Resource> | null;
}

/**
 * Ids and versions count 1, 2, 3 …, so that people can read them. Writes must come one after the other: a conditional
 * update searches first, and two at once would both create.
 */
export class VersionedRepository extends MemoryRepository {
  /** By "Patient/1", oldest first. */
  readonly #versions = new Map<string, Version[]>();
  readonly #identifiers = new IdentifierIndex();
  #lastId = 0;
  /** What takes back each write of the transaction that is under way; null outside of one. */
  #undo: (() => Promise<void>)[] | null = null;

  /** Of a resource, perhaps a deleted one; undefined when there never was one. */
  versionOf(type: string, id: string): string | undefined {
    return this.#versions.get(`${type}/${id}`)?.at(-1)?.versionId;
  }

  override generateId(): string {
    this.#lastId += 1;
    return String(this.#lastId);
  }

  /** Medplum's updates end here too, with `update` set. */
  override async createResource<T extends Resource>(
    resource: T,
    options?: CreateResourceOptions,
    update = false,
  ): Promise<WithId<T>> {
    validateResource(resource);
    const type = resource.resourceType;
    // A client that POSTs does not choose the id: https://hl7.org/fhir/R4/http.html#create
    const chosen = update || options?.assignedId ? resource.id : undefined;
    const id = chosen ?? this.#unusedId(type);
    const versions = this.#versions.get(`${type}/${id}`) ?? [];
    const at = new Date().toISOString();
    const meta = { ...resource.meta, versionId: String(versions.length + 1), lastUpdated: at };
    // "Seeding" lets the version be ours; Medplum's own are UUIDs.
    this.#takeBack(type, id);
    const stored = await this.withSeeding(() => super.createResource({ ...resource, id, meta }, options, update));
    this.#identifiers.replace(versions.at(-1)?.resource ?? null, stored);
    const method = update ? 'PUT' : 'POST';
    versions.push({ versionId: meta.versionId, at, method, resource: stored });
    this.#versions.set(`${type}/${id}`, versions);
    return stored;
  }

  override async updateResource<T extends Resource>(resource: T, options?: UpdateResourceOptions): Promise<WithId<T>> {
    if (options?.ifMatch) this.#refuseDeleted(resource.resourceType, resource.id ?? '');
    return await super.updateResource(resource, options);
  }

  override async readResource<T extends Resource>(type: string, id: string): Promise<T> {
    this.#refuseDeleted(type, id);
    return await super.readResource(type, id);
  }

  /** Deleting again what is deleted is a success: https://hl7.org/fhir/R4/http.html#delete */
  override async deleteResource(type: string, id: string, options?: DeleteResourceOptions): Promise<void> {
    const versions = this.#versions.get(`${type}/${id}`);
    const last = versions?.at(-1);
    if (last?.resource === null) return;
    this.#takeBack(type, id);
    await super.deleteResource(type, id, options);
    this.#identifiers.replace(last?.resource ?? null, null);
    const versionId = String((versions?.length ?? 0) + 1);
    versions?.push({ versionId, at: new Date().toISOString(), method: 'DELETE', resource: null });
  }

  /** Medplum's turns its list round at each read, and has none of a deleted resource. */
  override async readHistory<T extends Resource>(
    type: string,
    id: string,
    { offset = 0, limit }: ReadHistoryOptions = {},
  ): Promise<Bundle<T>> {
    const versions = this.#versions.get(`${type}/${id}`);
    if (!versions) throw new OperationOutcomeError(notFound);
    const entry = versions.toReversed().map(({ versionId, at, method, resource }) => ({
      fullUrl: `${type}/${id}`,
      ...(resource && { resource: structuredClone(resource) as unknown as T }),
      request: { method, url: method === 'POST' ? type : `${type}/${id}` },
      response: { status: versionId === '1' ? '201' : '200', etag: `W/"${versionId}"`, lastModified: at },
    }));
    const end = limit === undefined ? undefined : offset + limit;
    return { resourceType: 'Bundle', type: 'history', total: entry.length, entry: entry.slice(offset, end) };
  }

  override async readVersion<T extends Resource>(type: string, id: string, versionId: string): Promise<T> {
    const version = this.#versions.get(`${type}/${id}`)?.find((one) => one.versionId === versionId);
    if (!version) throw new OperationOutcomeError(notFound);
    if (!version.resource) throw new OperationOutcomeError(gone);
    return structuredClone(version.resource) as unknown as T;
  }

  /** By identifier through an index, and exactly: Medplum's own looks at every resource, in any case and without escapes. */
  override async search<T extends Resource>(request: SearchRequest<T>): Promise<Bundle<WithId<T>>> {
    const tokens = request.filters?.filter(isIdentifier) ?? [];
    if (tokens.length === 0) return await super.search(request);
    const ids = tokens.map(({ value }) => this.#identifiers.find(request.resourceType, value));
    const found = ids.reduce((one, other) => one.intersection(other));
    // The other parameters, the order and the page are Medplum's, over those alone.
    const few = new MemoryRepository();
    await few.withSeeding(async () => {
      for (const id of found) await few.createResource(await super.readResource(request.resourceType, id));
    });
    return await few.search({ ...request, filters: request.filters?.filter((filter) => !isIdentifier(filter)) ?? [] });
  }

  /** Medplum's shortcut would go around createResource; its general way does not. */
  override async conditionalCreate<T extends Resource>(
    resource: T,
    search: SearchRequest<T>,
    options?: CreateResourceOptions,
  ): ReturnType<typeof FhirRepository.prototype.conditionalCreate<T>> {
    const general = FhirRepository.prototype.conditionalCreate<T>;
    return await general.call(this, resource, search, options);
  }

  /** All or nothing, which Medplum's in memory is not. A part of a transaction may be one itself. */
  override async withTransaction<T>(work: (repository: this) => Promise<T>): Promise<T> {
    if (this.#undo) return await work(this);
    const undo: (() => Promise<void>)[] = [];
    this.#undo = undo;
    try {
      return await work(this);
    } catch (error) {
      this.#undo = null;
      for (const takeBack of undo.toReversed()) await takeBack();
      throw error;
    } finally {
      this.#undo = null;
    }
  }

  #takeBack(type: string, id: string): void {
    const key = `${type}/${id}`;
    const versions = [...(this.#versions.get(key) ?? [])];
    const resource = versions.at(-1)?.resource ?? null;
    this.#undo?.push(async () => {
      this.#identifiers.replace(this.#versions.get(key)?.at(-1)?.resource ?? null, resource);
      if (versions.length > 0) this.#versions.set(key, versions);
      else this.#versions.delete(key);
      await this.expungeResource(type, id);
      if (resource) await this.withSeeding(() => super.createResource(resource, undefined, true));
    });
  }

  #unusedId(type: string): string {
    const id = this.generateId();
    return this.#versions.has(`${type}/${id}`) ? this.#unusedId(type) : id;
  }

  #refuseDeleted(type: string, id: string): void {
    if (this.#versions.get(`${type}/${id}`)?.at(-1)?.resource === null) throw new OperationOutcomeError(gone);
  }
}

function isIdentifier({ code, operator }: Filter): boolean {
  return code === 'identifier' && operator === Operator.EQUALS;
}
