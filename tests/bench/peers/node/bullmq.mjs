// BullMQ: `node bullmq.mjs worker CONCURRENCY` or `node bullmq.mjs load`, on the Redis at REDIS_PORT.

import { once } from 'node:events';
import { Queue, Worker } from 'bullmq';
import { load, talk, work } from './common.mjs';

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };

if (process.argv[2] === 'worker') {
  const run = (job, token, signal) => work(job.data, signal);
  const worker = new Worker('tasks', run, { connection, concurrency: Number(process.argv[3]) });
  worker.on('error', (error) => console.error(error));
  await worker.waitUntilReady();
  talk({
    // A job can be cancelled by the worker that runs it, if its function heeds the signal.
    cancel: async ({ id }) => {
      const failed = once(worker, 'failed');
      const start = performance.now();
      if (!worker.cancelJob(`t${id}`)) throw new Error(`job ${id} does not run`);
      await failed;
      return { stopped_s: (performance.now() - start) / 1000 };
    },
  });
} else {
  const queue = new Queue('tasks', { connection });
  const spec = (task) => ({ name: 'task', data: task, opts: { jobId: task.kind === 'noop' ? undefined : `t${task.id}` } });
  talk(
    load({
      one: (task) => queue.add('task', task, spec(task).opts),
      many: (tasks) => queue.addBulk(tasks.map(spec)),
      left: async () => {
        const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'paused');
        return Object.values(counts).reduce((sum, count) => sum + count, 0);
      },
      reset: () => queue.obliterate({ force: true }),
    }),
  );
}
