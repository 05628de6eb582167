// Numbers as Grafana writes them, in the units that the dashboard has.

import { BytesIEC, EventsPerSecond, PercentUnit, Seconds } from '@grafana/grafana-foundation-sdk/units';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export function withUnit(value: number, unit: string | undefined, decimals?: number): string {
  const digits = (number: number) => rounded(number, decimals);
  switch (unit) {
    case Seconds:
      if (value !== 0 && value < 1) return `${digits(value * 1000)} ms`;
      if (value < MINUTE) return `${digits(value)} s`;
      if (value < HOUR) return `${digits(value / MINUTE)} min`;
      return value < DAY ? `${digits(value / HOUR)} h` : `${digits(value / DAY)} d`;
    case BytesIEC: {
      const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), 4);
      return `${digits(value / 1024 ** power)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`;
    }
    case EventsPerSecond:
      return `${digits(value)}/s`;
    case PercentUnit:
      return `${digits(value * 100)} %`;
    default:
      return digits(value);
  }
}

function rounded(value: number, decimals?: number): string {
  if (decimals !== undefined) return value.toFixed(decimals);
  return value.toLocaleString('en', {
    maximumSignificantDigits: 3,
    notation: value >= 10_000 ? 'compact' : 'standard',
  });
}
