// The end of a delivery: recorded in PostgreSQL, remembered, counted and told.
import type { Logger } from 'pino';
import { toldId } from '../../fhir/model/told-id.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { formatLsn } from '../../postgres/lsn.ts';
import { type Delivery, identifiersOf } from '../delivery/delivery.ts';
import type { Ending } from '../tables/ending.ts';
import type { Links } from '../tables/links.ts';
import type { Recorder } from '../tables/recorder.ts';
import type { DeliveryTrace, ToldIds } from './delivery-trace.ts';

export interface Concluding {
  readonly recorder: Recorder;
  readonly links: Links;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Only after this has resolved may the transaction's LSN be acknowledged. */
export async function conclude(
  { recorder, links, metrics, log }: Concluding,
  delivery: Delivery,
  ending: Ending,
  trace: DeliveryTrace | null,
): Promise<void> {
  const recorded = await recorder.record(delivery, ending);
  const told = toldIds(delivery, recorded);
  trace?.recorded(recorded, told);
  const { txid, eventKey, outboxIds, endLsn } = delivery;
  const ids = { txid, lsn: endLsn === null ? undefined : formatLsn(endLsn), eventKey, outboxIds, traceId: trace?.id };
  metrics.progressed();
  if (recorded.kind === 'superseded') {
    metrics.superseded.inc(delivery.outboxIds.length);
    log.info(ids, 'superseded');
  } else if (recorded.kind === 'dead') {
    // The record may have added identifiers to what we know of it.
    links.forget(delivery);
    metrics.failed.inc(delivery.outboxIds.length);
    log.error(
      { ...ids, status: recorded.httpStatus, attempts: recorded.attempts, reason: recorded.reason },
      'dead-lettered',
    );
  } else {
    if (recorded.fhirId) {
      links.remember(delivery, {
        fhirId: recorded.fhirId,
        versionId: recorded.versionId,
        lastRevision: delivery.revision,
        deleted: recorded.deleted,
        identifiers: identifiersOf(delivery),
      });
    }
    metrics.processed.inc(delivery.outboxIds.length);
    log.info({ ...ids, ...told }, 'delivered');
  }
}

function toldIds({ mapped }: Delivery, ending: Ending): ToldIds {
  if (ending.kind !== 'delivered') return { fhirId: null, version: null };
  const about = mapped?.ok ? mapped.resource : mapped?.identifier;
  return { fhirId: toldId(ending.fhirId, about), version: toldId(ending.versionId, about) };
}
