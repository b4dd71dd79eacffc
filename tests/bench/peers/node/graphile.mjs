// graphile-worker: `node graphile.mjs worker CONCURRENCY` or `node graphile.mjs load`, on the PostgreSQL at PG_URL.
// With BATCHED it fetches and completes many jobs at once, as its page on performance tells.

import { makeWorkerUtils, run, Logger } from 'graphile-worker';
import pg from 'pg';
import { load, talk, work } from './common.mjs';

const connectionString = process.env.PG_URL;
const logger = new Logger(() => (level, message) => level === 'error' && console.error(message));

if (process.argv[2] === 'worker') {
  const concurrentJobs = Number(process.argv[3]);
  const tuned = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const preset = {
    worker: { connectionString, concurrentJobs, maxPoolSize: 20, logger, ...(process.env.BATCHED ? tuned : {}) },
  };
  await run({ preset, noHandleSignals: true, taskList: { task: (payload) => work(payload) }, crontab: '' });
  talk({});
} else {
  const pool = new pg.Pool({ connectionString, max: 20 });
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  talk(
    load({
      one: (payload) => utils.addJob('task', payload),
      many: (tasks) => utils.addJobs(tasks.map((payload) => ({ identifier: 'task', payload }))),
      left: async (below) => {
        const most = Math.max(1, below);
        const { rows } = await pool.query(
          `select count(*)::int as n from (select 1 from graphile_worker._private_jobs limit ${most}) as found`,
        );
        return rows[0].n;
      },
      reset: async () => {
        await pool.query('drop schema if exists graphile_worker cascade');
        await utils.migrate();
      },
    }),
  );
}
