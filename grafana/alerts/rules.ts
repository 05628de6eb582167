// All alert rules: the one source of Grafana's provisioning, of Prometheus' rules and of the runbook's table.

import { connector } from './connector.ts';
import { database } from './database.ts';
import { fhir } from './fhir.ts';
import { outbox } from './outbox.ts';
import type { AlertGroup, AlertRule } from './rule.ts';
import { slot } from './slot.ts';

export const groups: readonly AlertGroup[] = [connector, database, slot, outbox, fhir];
export const rules: readonly AlertRule[] = groups.flatMap((group) => group.rules);
