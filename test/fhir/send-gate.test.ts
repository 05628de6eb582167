// The gate: how many may send at once, and the two holds, for a server that does not answer and one that refuses everyone.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Fault, faultOf, faultOfAnswer } from '../../src/fhir/faults/fault.ts';
import { type Blamed, type GateState, SendGate } from '../../src/fhir/faults/send-gate.ts';

const answered = (status: number) => faultOfAnswer('conditional-put', { status, retryAfter: undefined, outcome: null });
const timeout = faultOf('timeout');
const validation = answered(422);
const forbidden = answered(403);
const unauthorized = answered(401);

let states: GateState[];
let probes: { answer(fault: Fault | null): void }[];
let gate: SendGate;
/** With the last state. */
let told: Fault | null;

beforeEach(() => {
  vi.useFakeTimers();
  open(4);
});

afterEach(() => {
  gate.close(new Error('The test is over.'));
  vi.useRealTimers();
});

function open(places: number): void {
  states = [];
  probes = [];
  gate = new SendGate({
    places,
    probe: () =>
      new Promise((resolve) => {
        probes.push({ answer: resolve });
      }),
    onState: (state, fault) => {
      states.push(state);
      told = fault;
    },
  });
}

/** Queues up and notes its name once it was admitted. */
function queueUp(names: readonly string[], admitted: string[]): void {
  for (const name of names) {
    gate.admit().then(
      () => admitted.push(name),
      (error: Error) => admitted.push(`${name}: ${error.message}`),
    );
  }
}

/** Of a refusal that was met this moment. */
function noteRefusal(who: string, fault: Fault, refusedAt: number | null): Blamed {
  return gate.noteRefusal(who, fault, refusedAt, performance.now());
}

async function answerProbe(fault: Fault | null): Promise<void> {
  const probe = probes.at(-1);
  if (!probe) throw new Error('No probe was sent.');
  probe.answer(fault);
  await vi.advanceTimersByTimeAsync(0);
}

describe('a gate that lets through', () => {
  it('admits as many as may send at once, the rest in order as places become free', async () => {
    open(2);
    const admitted: string[] = [];
    queueUp(['a', 'b', 'c', 'd'], admitted);
    await vi.advanceTimersByTimeAsync(0);
    expect(admitted).toEqual(['a', 'b']);
    expect(gate.inFlight).toBe(2);
    gate.release();
    await vi.advanceTimersByTimeAsync(0);
    expect(admitted).toEqual(['a', 'b', 'c']);
    gate.release();
    gate.release();
    gate.release();
    await vi.advanceTimersByTimeAsync(0);
    expect(admitted).toEqual(['a', 'b', 'c', 'd']);
    expect(gate.inFlight).toBe(0);
  });
});

describe('an outage', () => {
  it('is entered once, however many fail, and asks the server at once', async () => {
    gate.unreachable(timeout);
    gate.unreachable(timeout);
    gate.unreachable(timeout);
    expect(states).toEqual(['outage']);
    expect(probes).toHaveLength(1);
  });

  it('is told with what it is for, and its end without', async () => {
    gate.unreachable(timeout);
    expect(told).toBe(timeout);
    await answerProbe(null);
    expect(states).toEqual(['outage', 'flowing']);
    expect(told).toBeNull();
  });

  it('admits nobody, not even into a place that becomes free', async () => {
    const admitted: string[] = [];
    queueUp(['sending'], admitted);
    gate.unreachable(timeout);
    queueUp(['waiting'], admitted);
    gate.release();
    await vi.advanceTimersByTimeAsync(20_000);
    expect(admitted).toEqual(['sending']);
  });

  it('probes once a second', async () => {
    gate.unreachable(timeout);
    for (let second = 1; second <= 10; second += 1) {
      await answerProbe(timeout);
      await vi.advanceTimersByTimeAsync(1000);
      expect(probes).toHaveLength(1 + second);
    }
    expect(states).toEqual(['outage']);
  });

  it('has no second probe under way while one waits for its answer, but for one that a silent server swallows', async () => {
    gate.unreachable(timeout);
    await vi.advanceTimersByTimeAsync(1999);
    expect(probes).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(probes).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(18_000);
    expect(probes).toHaveLength(11);
  });

  it('ends with the first probe that succeeds, whatever becomes of those that were swallowed before', async () => {
    gate.unreachable(timeout);
    const since = performance.now();
    const judgement = gate.worksAfter(since, 'Patient/1');
    await vi.advanceTimersByTimeAsync(2000);
    await answerProbe(null);
    expect(gate.state).toBe('flowing');
    expect(await judgement).toBe(true);
    probes[0]?.answer(timeout);
    await vi.advanceTimersByTimeAsync(0);
    expect(gate.state).toBe('flowing');
  });

  it('ends with a probe that succeeds, and all are admitted in the order in which they came', async () => {
    const admitted: string[] = [];
    gate.unreachable(timeout);
    queueUp(['a', 'b', 'c'], admitted);
    await answerProbe(null);
    expect(states).toEqual(['outage', 'flowing']);
    expect(admitted).toEqual(['a', 'b', 'c']);
    await vi.advanceTimersByTimeAsync(5000);
    expect(probes).toHaveLength(1);
  });

  it('does not end with a success of what was under way when it began: that server is gone', async () => {
    const begun = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    gate.unreachable(timeout);
    gate.succeeded('Patient/1', begun);
    expect(gate.state).toBe('outage');
    gate.succeeded('Patient/1', performance.now());
    expect(gate.state).toBe('flowing');
  });

  it('that only the reads come out of goes on as a hold, when ten in a row were refused', async () => {
    for (let patient = 1; patient <= 10; patient += 1) noteRefusal(`Patient/${patient}`, validation, null);
    gate.unreachable(timeout);
    await answerProbe(null);
    expect(gate.state).toBe('refusing');
    expect(told).toBe(validation);
  });

  it('can begin again', async () => {
    gate.unreachable(timeout);
    await answerProbe(null);
    await vi.advanceTimersByTimeAsync(1000);
    gate.unreachable(timeout);
    expect(states).toEqual(['outage', 'flowing', 'outage']);
    expect(probes).toHaveLength(2);
  });

  it.each([
    [
      'a server that knows no such search',
      faultOfAnswer('probe', { status: 404, retryAfter: undefined, outcome: null }),
    ],
    ['an account that may not search', faultOfAnswer('probe', { status: 403, retryAfter: undefined, outcome: null })],
    [
      'a server that finds fault with it',
      faultOfAnswer('probe', { status: 400, retryAfter: undefined, outcome: null }),
    ],
  ])('does not last for ever when the probe itself is refused, by %s: deliveries are tried', async (_, refusal) => {
    const admitted: string[] = [];
    gate.unreachable(timeout);
    queueUp(['a', 'b'], admitted);
    await answerProbe(refusal);
    expect(gate.state).toBe('refusing');
    await vi.advanceTimersByTimeAsync(1000);
    expect(admitted).toEqual(['a']);
    gate.succeeded('a', performance.now());
    await vi.advanceTimersByTimeAsync(0);
    expect(admitted).toEqual(['a', 'b']);
  });

  it('goes on while the server answers probes with failures of its own', async () => {
    gate.unreachable(timeout);
    await answerProbe(faultOfAnswer('probe', { status: 500, retryAfter: undefined, outcome: null }));
    expect(gate.state).toBe('outage');
  });
});

describe('the question whether the server works, after a failure', () => {
  it("is answered by another patient's request that was begun later and succeeded, without a probe", async () => {
    const failedAt = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    gate.succeeded('Patient/2', performance.now());
    await expect(gate.worksAfter(failedAt, 'Patient/1')).resolves.toBe(true);
    expect(probes).toHaveLength(0);
  });

  it("is not answered by the patient's own successes", async () => {
    const failedAt = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    gate.succeeded('Patient/1', performance.now());
    await vi.advanceTimersByTimeAsync(10);
    gate.succeeded('Patient/1', performance.now());
    const works = gate.worksAfter(failedAt, 'Patient/1');
    expect(probes).toHaveLength(1);
    await answerProbe(timeout);
    await expect(works).resolves.toBe(false);
  });

  it("finds another's success behind the patient's own, in whatever order they were told", async () => {
    const failedAt = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    const begun = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    gate.succeeded('Patient/1', performance.now());
    gate.succeeded('Patient/2', begun);
    gate.succeeded('Patient/1', begun);
    await expect(gate.worksAfter(failedAt, 'Patient/1')).resolves.toBe(true);
    await expect(gate.worksAfter(failedAt, 'Patient/2')).resolves.toBe(true);
    expect(probes).toHaveLength(0);
  });

  it("is not answered by another's success that was begun before, however late it came", async () => {
    const begun = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    const failedAt = performance.now();
    gate.succeeded('Patient/2', begun);
    const works = gate.worksAfter(failedAt, 'Patient/1');
    await answerProbe(timeout);
    await expect(works).resolves.toBe(false);
  });

  it('is answered by probes, two a second at most, each for all who failed before it', async () => {
    await vi.advanceTimersByTimeAsync(10);
    const first = gate.worksAfter(performance.now(), 'Patient/1');
    expect(probes).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    // The probe under way was asked before these two failed.
    const later = [2, 3].map((patient) => gate.worksAfter(performance.now(), `Patient/${patient}`));
    await answerProbe(null);
    await expect(first).resolves.toBe(true);
    await vi.advanceTimersByTimeAsync(498);
    expect(probes).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(probes).toHaveLength(2);
    await answerProbe(null);
    await expect(Promise.all(later)).resolves.toEqual([true, true]);
    expect(probes).toHaveLength(2);
  });

  it('is answered by the probe that the failure itself caused: a patient that always times out is found out', async () => {
    const failedAt = performance.now();
    gate.unreachable(timeout);
    const works = gate.worksAfter(failedAt, 'Patient/1');
    await answerProbe(null);
    await expect(works).resolves.toBe(true);
    expect(probes).toHaveLength(1);
  });

  it('makes an outage known that only the probe met', async () => {
    void gate.worksAfter(performance.now(), 'Patient/1');
    await answerProbe(timeout);
    expect(states).toEqual(['outage']);
  });

  it('is answered with no when the gate is closed before it may ask', async () => {
    gate.unreachable(timeout);
    await answerProbe(timeout);
    await vi.advanceTimersByTimeAsync(10);
    const works = gate.worksAfter(performance.now(), 'Patient/1');
    gate.close(new Error('stopped'));
    await expect(works).resolves.toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('refusals', () => {
  it('are the fault of the patients while fewer than ten of them are refused in a row', () => {
    for (let patient = 1; patient <= 9; patient += 1)
      expect(noteRefusal(`Patient/${patient}`, validation, null)).toBe('patient');
    expect(noteRefusal('Patient/9', validation, null)).toBe('patient');
    expect(states).toEqual([]);
  });

  it('are the fault of the server from the tenth different patient on', () => {
    for (let patient = 1; patient <= 9; patient += 1) noteRefusal(`Patient/${patient}`, validation, null);
    expect(noteRefusal('Patient/10', validation, null)).toBe('server');
    expect(noteRefusal('Patient/11', validation, null)).toBe('server');
    expect(states).toEqual(['refusing']);
  });

  it('are counted anew after a success', () => {
    for (let patient = 1; patient <= 9; patient += 1) noteRefusal(`Patient/${patient}`, validation, null);
    gate.succeeded('Patient/100', performance.now());
    expect(noteRefusal('Patient/10', validation, null)).toBe('patient');
  });

  it('of the time of a hold are the fault of the server, though they are judged after it', async () => {
    const failedAt = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    noteRefusal('Patient/1', forbidden, null);
    await vi.advanceTimersByTimeAsync(10);
    gate.succeeded('Patient/2', performance.now());
    expect(gate.state).toBe('flowing');
    expect(gate.noteRefusal('Patient/3', validation, null, failedAt)).toBe('server');
    expect(gate.noteRefusal('Patient/1', validation, 0, failedAt)).toBe('server');
    expect(gate.state).toBe('flowing');
    expect(noteRefusal('Patient/3', validation, null)).toBe('patient');
  });

  it('are not counted anew after a success that was begun before the first of them', async () => {
    const begun = performance.now();
    await vi.advanceTimersByTimeAsync(10);
    for (let patient = 1; patient <= 9; patient += 1) noteRefusal(`Patient/${patient}`, validation, null);
    gate.succeeded('Patient/100', begun);
    expect(noteRefusal('Patient/10', validation, null)).toBe('server');
    expect(gate.state).toBe('refusing');
  });

  it.each([
    ['403', forbidden],
    ['401', unauthorized],
  ])('are the fault of the server at once with %s on a conditional PUT', (_, fault) => {
    expect(noteRefusal('Patient/1', fault, null)).toBe('server');
    expect(gate.state).toBe('refusing');
  });

  it('are tried with one delivery a second, going round', async () => {
    noteRefusal('Patient/0', forbidden, null);
    const admitted: string[] = [];
    queueUp(['a', 'b', 'c'], admitted);
    await vi.advanceTimersByTimeAsync(999);
    expect(admitted).toEqual([]);
    for (const [second, name] of ['a', 'b', 'c', 'a'].entries()) {
      await vi.advanceTimersByTimeAsync(second === 0 ? 1 : 1000);
      expect(admitted.at(-1)).toBe(name);
      expect(admitted).toHaveLength(second + 1);
      gate.release();
      expect(noteRefusal(name, forbidden, performance.now())).toBe('server');
      queueUp([name], admitted);
    }
    expect(states).toEqual(['refusing']);
  });

  it('end with the first success, and all are admitted in order', async () => {
    noteRefusal('Patient/0', forbidden, null);
    const admitted: string[] = [];
    queueUp(['a', 'b', 'c', 'd'], admitted);
    await vi.advanceTimersByTimeAsync(1000);
    expect(admitted).toEqual(['a']);
    gate.succeeded('a', performance.now());
    await vi.advanceTimersByTimeAsync(0);
    expect(states).toEqual(['refusing', 'flowing']);
    expect(admitted).toEqual(['a', 'b', 'c', 'd']);
  });

  it("are the patient's own fault when it is refused again after another's success", async () => {
    noteRefusal('Patient/1', forbidden, null);
    const refusedAt = performance.now();
    await vi.advanceTimersByTimeAsync(1000);
    gate.succeeded('Patient/2', performance.now());
    expect(noteRefusal('Patient/1', forbidden, refusedAt)).toBe('patient');
    expect(gate.state).toBe('flowing');
  });

  it("are not the patient's fault after its own success, nor after one from before", async () => {
    gate.succeeded('Patient/2', performance.now());
    await vi.advanceTimersByTimeAsync(1000);
    const refusedAt = performance.now();
    noteRefusal('Patient/1', forbidden, null);
    await vi.advanceTimersByTimeAsync(1000);
    gate.succeeded('Patient/1', performance.now());
    expect(noteRefusal('Patient/1', forbidden, refusedAt)).toBe('server');
  });

  it.each([
    ['401', unauthorized],
    ['a token that does not allow it', faultOf('insufficient-scope', 403)],
    ['a token that is too long', answered(431)],
  ])("are never the patient's fault with %s", async (_, fault) => {
    const refusedAt = performance.now();
    noteRefusal('Patient/1', fault, null);
    await vi.advanceTimersByTimeAsync(1000);
    gate.succeeded('Patient/2', performance.now());
    expect(noteRefusal('Patient/1', fault, refusedAt)).toBe('server');
  });

  it('are no outage: but an outage during the hold is probed', async () => {
    noteRefusal('Patient/1', forbidden, null);
    gate.unreachable(timeout);
    expect(states).toEqual(['refusing', 'outage']);
    expect(probes).toHaveLength(1);
    expect(noteRefusal('Patient/2', forbidden, null)).toBe('server');
    expect(states).toEqual(['refusing', 'outage']);
  });
});

describe('a closed gate', () => {
  it('tells those who wait and those who come the reason, and keeps no timer', async () => {
    const admitted: string[] = [];
    gate.unreachable(timeout);
    queueUp(['waiting'], admitted);
    gate.close(new Error('stopped'));
    queueUp(['late'], admitted);
    await vi.advanceTimersByTimeAsync(0);
    expect(admitted).toEqual(['waiting: stopped', 'late: stopped']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('tells no more states, whatever those who are under way report', async () => {
    gate.close(new Error('stopped'));
    gate.unreachable(timeout);
    gate.succeeded('Patient/1', performance.now());
    noteRefusal('Patient/1', forbidden, null);
    expect(states).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
