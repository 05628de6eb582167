// Grafana's colours on its dark ground: https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/themes/palette.ts

import type { Colour } from '../overview/colours.ts';

export const GROUND = '#111217';
export const PANEL = '#181b1f';
export const TEXT = '#ccccdc';
export const FAINT = '#8e8e9a';

const COLOURS: Readonly<Record<Colour, string>> = {
  green: '#73bf69',
  yellow: '#fade2a',
  orange: '#ff9830',
  red: '#f2495c',
  blue: '#5794f2',
  purple: '#b877d9',
};

/** For lines that no rule gives a colour, in their order. */
export const LINES = ['#73bf69', '#fade2a', '#5794f2', '#ff9830', '#f2495c', '#b877d9'];

export function colourOf(name: string | undefined): string {
  return COLOURS[name as Colour] ?? FAINT;
}
