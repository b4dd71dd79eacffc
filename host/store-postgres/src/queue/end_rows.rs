//! The ends of runs, written by one statement however many they are.

use std::collections::HashSet;

use wasmill_model::Transition;
use wasmill_store::live::Body;
use wasmill_store::rules::finish::Finish;
use wasmill_store::stored::usage;

use crate::connection::database::Connection;
use crate::connection::fault::Result;
use crate::read::rows::{get, host, nanos, seq, uuid};

/// Ends those whose claim still holds and who were not asked to stop, and drops what only a later run would need. The state
/// is compared as it is, so that the index of running tasks is no way in: all of them would be read for each row.
const END: &str = "
    WITH ended AS (UPDATE task SET state = e.state, finished_at = e.at, cause = e.cause, message = e.message, result = e.result,
        plugin_digest = coalesce(e.digest, plugin_digest), host_crashes = host_crashes + e.crashes,
        usage = coalesce(e.usage, task.usage), result_type = e.result_type
    FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[],
        $9::text[], $10::bigint[], $11::text[], $12::bigint[], $13::text[]) AS e (seq, id, token, state, at, cause, message, result,
        digest, crashes, usage, host, result_type)
    WHERE task.seq = e.seq AND task.id = e.id AND claim_token = e.token AND task.host = e.host
        AND task.state || '' = 'running'
        AND stop_requested_at IS NULL
    RETURNING task.seq),
    events AS (DELETE FROM posted_event WHERE seq = ANY (ARRAY(SELECT seq FROM ended))),
    checkpoints AS (DELETE FROM checkpoint WHERE seq = ANY (ARRAY(SELECT seq FROM ended)))
    SELECT seq FROM ended";
const LOGS: &str = "
    INSERT INTO log (seq, body) SELECT * FROM unnest($1::bigint[], $2::bytea[])
    ON CONFLICT (seq) DO UPDATE SET body = excluded.body";

/// Runs that end their tasks.
#[derive(Debug, Default)]
pub(crate) struct EndRows<'a> {
    ends: Vec<&'a Finish>,
    seqs: HashSet<i64>,
}

impl<'a> EndRows<'a> {
    /// Adds a run, unless its task continues, or another one has ended it already.
    pub(crate) fn push(&mut self, finish: &'a Finish) {
        if finish.count().is_none() && self.seqs.insert(seq(finish.claim.task_ref())) {
            self.ends.push(finish);
        }
    }

    /// Returns true if the log of an end is written with it: there is none of an earlier run to add it to.
    pub(crate) fn writes_log(finish: &Finish) -> bool {
        finish.claim.token() == 1
    }

    /// Ends the tasks, with their logs, checkpoints and posted events; returns those that have ended.
    pub(crate) async fn write(&self, connection: &Connection) -> Result<HashSet<i64>> {
        if self.ends.is_empty() {
            return Ok(HashSet::new());
        }
        let mut ended = HashSet::with_capacity(self.ends.len());
        for row in self.end(connection).await? {
            ended.insert(get(&row, 0)?);
        }
        let (mut of_logs, mut logs) = (Vec::new(), Vec::new());
        for finish in self.ends.iter().filter(|finish| Self::writes_log(finish)) {
            let seq = seq(finish.claim.task_ref());
            if let Some(part) = finish.log_to_keep().filter(|_| ended.contains(&seq)) {
                of_logs.push(seq);
                logs.push(Body(&[]).with(&part));
            }
        }
        if !logs.is_empty() {
            connection.execute(LOGS, &[&of_logs, &logs]).await?;
        }
        Ok(ended)
    }

    async fn end(&self, connection: &Connection) -> Result<Vec<tokio_postgres::Row>> {
        let ends = || self.ends.iter();
        let result = |finish: &&'a Finish| match &finish.next {
            Transition::Completed(result) => Some(result),
            _ => None,
        };
        let result_type =
            |finish| result(finish).and_then(|result| result.r#type.as_ref().map(ToString::to_string));
        let digests: Vec<_> = ends().map(|finish| finish.claim.run().digest()).collect();
        connection
            .query(
                END,
                &[
                    &ends().map(|finish| seq(finish.claim.task_ref())).collect::<Vec<_>>(),
                    &ends().map(|finish| uuid(finish.claim.id)).collect::<Vec<_>>(),
                    &ends().map(|finish| finish.claim.token()).collect::<Vec<_>>(),
                    &ends().map(|finish| finish.next.state().as_str()).collect::<Vec<_>>(),
                    &ends().map(|finish| nanos(finish.now)).collect::<Vec<_>>(),
                    &ends()
                        .map(|finish| finish.failure().map(|(cause, _)| cause.to_string()))
                        .collect::<Vec<_>>(),
                    &ends()
                        .map(|finish| finish.failure().map(|(_, message)| message.as_bytes()))
                        .collect::<Vec<_>>(),
                    &ends()
                        .map(|finish| result(finish).map(|result| result.text.as_bytes()))
                        .collect::<Vec<_>>(),
                    &digests.iter().map(|digest| digest.as_deref()).collect::<Vec<_>>(),
                    &ends().map(|finish| i64::from(finish.is_crash())).collect::<Vec<_>>(),
                    &ends().map(|finish| finish.usage().map(|used| usage::text(&used))).collect::<Vec<_>>(),
                    &ends().map(|finish| host(finish.claim.task_ref())).collect::<Vec<_>>(),
                    &ends().map(result_type).collect::<Vec<_>>(),
                ],
            )
            .await
    }
}
