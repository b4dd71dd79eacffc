// What every peer in JavaScript does in the same way: the tasks, the ledger, and the talk with the driver.

import { openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const ledger = process.env.LEDGER ? openSync(process.env.LEDGER, 'a') : undefined;

function note(what, id) {
  writeSync(ledger, `${what} ${id} ${Date.now() / 1000} ${process.pid}\n`);
}

/** Does one task: nothing, or a sleep or a spin that the ledger sees begin and end. */
export async function work({ kind, id, ms }, signal) {
  if (kind === 'noop') return;
  note('b', id);
  if (kind === 'spin') for (;;);
  await sleep(ms, undefined, { signal });
  note('e', id);
}

/** Answers each line of JSON on stdin with one on stdout, and ends with stdin. */
export function talk(operations) {
  const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async (line) => {
    const order = JSON.parse(line);
    try {
      say((await operations[order.op](order)) ?? {});
    } catch (error) {
      say({ error: String(error?.stack ?? error) });
    }
  });
  lines.on('close', () => process.exit(0));
  say({ ready: true });
}

/** The operations of a client whose queue knows `one`, `many` and `left`. */
export function load({ one, many, left, ...others }) {
  const until = async ({ below }) => {
    for (;;) {
      const now = await left(below);
      if (now < below) return { left: now, time: Date.now() / 1000 };
      await sleep(10);
    }
  };
  const submit = async ({ kind, count, ms, first = 0 }) => {
    for (let from = 0; from < count; from += 1000) {
      const ids = Array.from({ length: Math.min(1000, count - from) }, (_, i) => first + from + i);
      await many(ids.map((id) => ({ kind, id, ms })));
    }
  };
  return {
    until,
    submit,
    /** Submits no-ops one by one from many callers for some time, and waits until all are done. */
    singles: async ({ callers, seconds }) => {
      const start = performance.now();
      let count = 0;
      const caller = async () => {
        while (performance.now() - start < seconds * 1000) await one({ kind: 'noop', id: count++ });
      };
      await Promise.all(Array.from({ length: callers }, caller));
      const submitted = performance.now();
      await until({ below: 1 });
      const done = performance.now();
      return { count, submit_s: (submitted - start) / 1000, done_s: (done - start) / 1000 };
    },
    /** Submits no-ops a thousand at a time, and waits until all are done. */
    batches: async ({ count }) => {
      const start = performance.now();
      await submit({ kind: 'noop', count });
      const submitted = performance.now();
      await until({ below: 1 });
      const done = performance.now();
      return { count, submit_s: (submitted - start) / 1000, done_s: (done - start) / 1000 };
    },
    ...others,
  };
}
