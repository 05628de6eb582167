// The images that docker-compose.yml runs, so that tests run the same ones.
import { readFileSync } from 'node:fs';

/** With its tag, such as `postgres:17.10`. */
export function composeImage(name: string): string {
  const images = [...readFileSync('docker-compose.yml', 'utf8').matchAll(/^ +image: (\S+)$/gm)].map(
    ([, image]) => image,
  );
  const image = images.find((each) => each?.startsWith(`${name}:`));
  if (image === undefined) throw new Error(`docker-compose.yml names no image ${name}.`);
  return image;
}
