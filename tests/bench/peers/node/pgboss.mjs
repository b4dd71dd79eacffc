// pg-boss: `node pgboss.mjs worker CONCURRENCY` or `node pgboss.mjs load`, on the PostgreSQL at PG_URL.

import { PgBoss } from 'pg-boss';
import pg from 'pg';
import { load, talk, work } from './common.mjs';

const connectionString = process.env.PG_URL;
const boss = new PgBoss({ connectionString, max: 20 });
boss.on('error', (error) => console.error(error));

if (process.argv[2] === 'worker') {
  await boss.start();
  await boss.createQueue('tasks');
  // It hands over as many jobs at once; if it got all of them it fetches again as soon as they are done.
  const batchSize = Number(process.argv[3]);
  await boss.work('tasks', { batchSize, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }, (jobs) =>
    Promise.all(jobs.map((job) => work(job.data))),
  );
  talk({});
} else {
  const pool = new pg.Pool({ connectionString, max: 4 });
  await boss.start();
  await boss.createQueue('tasks');
  talk(
    load({
      one: (data) => boss.send('tasks', data),
      many: (tasks) => boss.insert('tasks', tasks.map((data) => ({ data }))),
      left: async (below) => {
        const most = Math.max(1, below);
        const open = `select 1 from pgboss.job where name = 'tasks' and state < 'completed' limit ${most}`;
        const { rows } = await pool.query(`select count(*)::int as n from (${open}) as found`);
        return rows[0].n;
      },
      reset: () => boss.deleteAllJobs('tasks'),
    }),
  );
}
