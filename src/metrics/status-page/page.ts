// The status page: one file without anything from elsewhere, and the header that keeps it so.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const HTML = readFileSync(join(import.meta.dirname, 'page.html'), 'utf8');

function sourceOf(tag: 'script' | 'style'): string {
  const content = new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(HTML)?.[1] ?? '';
  return `'sha256-${hash('sha256', content, 'base64')}'`;
}

export const page = {
  body: HTML,
  /** https://www.w3.org/TR/CSP3/ : its own script and style, its own server, and nothing else. */
  headers: {
    'content-security-policy': `default-src 'none'; script-src ${sourceOf('script')}; style-src ${sourceOf('style')}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  },
} as const;
