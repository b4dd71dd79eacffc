//! Tasks on their way: retries, queues, schedules, stops.

mod backoff;
mod cancel_matrix;
mod children;
mod cron;
mod dependencies;
mod drain;
mod events;
mod fair_queue;
mod fairness;
mod grace;
mod grace_end;
mod instant_retries;
mod queue;
mod retention;
mod schedules;
mod schedules_full;
mod stop;
mod suspension;
mod waits;
mod webhooks;
mod why;
