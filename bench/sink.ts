// The FHIR server of a bench, in a process of its own: it takes no time from the process that measures.
import { FhirSink } from '../test/support/fhir-sink.ts';

/** When a patient's state arrived, by the clock that all processes of a machine share (process.hrtime). */
export interface Arrival {
  readonly phone: string;
  readonly at: number;
}

const sink = await FhirSink.start();
process.send?.({ url: sink.url });

// Asked once, at the end: while the bench runs nothing is sent.
process.once('message', () => {
  const clock = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  const arrivals = sink.puts.map(({ body, at }): Arrival => {
    const telecom = body.telecom as { value: string }[] | undefined;
    return { phone: telecom?.[0]?.value ?? '', at: at + clock };
  });
  process.send?.({ arrivals });
});
process.once('disconnect', () => process.exit());
