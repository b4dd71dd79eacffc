//! Turns what clients of the database have put into the inbox into tasks, each row once.
//!
//! The binary runs it beside the scheduler. It knows neither plugins nor task requests: its caller passes a function that
//! turns a row into a task.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{BoxFuture, Clock, NewTask, PluginName, Timestamp};
use wasmill_store::{InboxOutcome, InboxRequest, InboxTask, Store, StoreError};

use crate::scheduler::Scheduler;

/// How long a row for a plugin that this host does not have is left to others.
const UNKNOWN_WAIT: Duration = Duration::from_secs(30);

/// How long to wait before rows that stay are looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// The timeout of a task that never runs.
const NO_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a row is not a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxRefusal {
    /// Its plugin is being compiled.
    Compiling,
    /// This host does not have its plugin; another one may.
    UnknownPlugin(String),
    /// It is wrong.
    Invalid(String),
}

/// Creates a task from a row as a submit at this moment would.
pub type Accept = Arc<dyn Fn(&InboxRequest, Timestamp) -> Result<NewTask, InboxRefusal> + Send + Sync>;

/// Turns rows of the inbox into tasks until a drain starts or the store is closed.
pub fn run_inbox(
    store: Store,
    clock: Arc<dyn Clock>,
    scheduler: Scheduler,
    accept: Accept,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            let has_left = tokio::select! {
                biased;
                () = scheduler.draining() => return,
                has_left = async {
                    store.wait_for_inbox().await;
                    take_all(&store, &*clock, &scheduler, &accept).await
                } => has_left,
            };
            match has_left {
                Ok(false) => {}
                Err(StoreError::Closed) => return,
                // The store has logged a failure.
                Ok(true) | Err(_) => tokio::select! {
                    () = scheduler.draining() => return,
                    () = tokio::time::sleep(RETRY) => {}
                },
            }
        }
    })
}

/// Takes what there is; returns true if rows stay that have to wait.
async fn take_all(
    store: &Store,
    clock: &dyn Clock,
    scheduler: &Scheduler,
    accept: &Accept,
) -> Result<bool, StoreError> {
    // Rows of a plugin that cannot be taken must not hold up the others.
    let mut without: Vec<String> = Vec::new();
    loop {
        let requests = store.inbox(without.clone()).await?;
        if requests.is_empty() {
            return Ok(!without.is_empty());
        }
        let now = clock.now();
        let accept = Arc::clone(accept);
        // Validating a large input takes time.
        let checked = tokio::task::spawn_blocking(move || check(&requests, now, &accept)).await;
        let Ok((tasks, waits)) = checked else { return Ok(true) };
        without.extend(waits);
        if tasks.is_empty() {
            continue;
        }
        let plugins: Vec<_> = tasks.iter().map(|task| task.task.plugin.to_string()).collect();
        let outcomes = store.take_inbox(tasks, now).await?;
        let mut stored = 0;
        for (outcome, plugin) in outcomes.iter().zip(plugins) {
            match outcome {
                InboxOutcome::Stored => stored += 1,
                InboxOutcome::Full if !without.contains(&plugin) => without.push(plugin),
                InboxOutcome::Refused(why) => tracing::debug!(plugin, why, "refused a row of the inbox"),
                _ => {}
            }
        }
        if stored > 0 {
            scheduler.wake();
        }
    }
}

/// Turns rows into tasks; returns also the plugins whose rows have to wait.
fn check(requests: &[InboxRequest], now: Timestamp, accept: &Accept) -> (Vec<InboxTask>, Vec<String>) {
    let (mut tasks, mut waits) = (Vec::new(), Vec::<String>::new());
    for request in requests {
        let InboxRequest { seq, id, plugin, .. } = request;
        // A later row of a plugin whose rows wait must not overtake them.
        if waits.contains(plugin) {
            continue;
        }
        let why = match accept(request, now) {
            Ok(task) => {
                tasks.push(InboxTask { seq: *seq, task: NewTask { id: *id, ..task }, refused: None });
                continue;
            }
            Err(InboxRefusal::UnknownPlugin(why)) if request.waited >= UNKNOWN_WAIT => why,
            Err(InboxRefusal::Compiling | InboxRefusal::UnknownPlugin(_)) => {
                waits.push(plugin.clone());
                continue;
            }
            Err(InboxRefusal::Invalid(why)) => why,
        };
        let Ok(name) = plugin.parse::<PluginName>() else {
            // The table has the same rule.
            tracing::error!(plugin, "a row of the inbox has an invalid name of a plugin");
            waits.push(plugin.clone());
            continue;
        };
        let task = NewTask { id: *id, input: request.input.clone(), ..NewTask::new(name, now, NO_TIMEOUT) };
        tasks.push(InboxTask { seq: *seq, task, refused: Some(why) });
    }
    (tasks, waits)
}

#[cfg(test)]
mod tests {
    use wasmill_model::TaskId;

    use super::*;

    fn request(seq: i64, plugin: &str, waited_s: u64) -> InboxRequest {
        let waited = Duration::from_secs(waited_s);
        let (plugin, options) = (plugin.to_owned(), "{}".to_owned());
        InboxRequest { seq, id: TaskId::new(), plugin, input: Some("1".to_owned()), options, waited }
    }

    fn accept() -> Accept {
        Arc::new(|request, now| match &*request.plugin {
            "compiling" => Err(InboxRefusal::Compiling),
            "unknown" => Err(InboxRefusal::UnknownPlugin("no plugin".to_owned())),
            "wrong" => Err(InboxRefusal::Invalid("bad input".to_owned())),
            plugin => Ok(NewTask::new(plugin.parse().expect("a name"), now, NO_TIMEOUT)),
        })
    }

    #[test]
    fn a_row_is_a_task_or_says_why_not_or_waits() {
        let requests = [
            request(1, "a", 0),
            request(2, "unknown", 0),
            request(3, "wrong", 0),
            request(4, "compiling", 100),
            request(5, "unknown", 100),
            request(6, "a", 0),
        ];
        let (tasks, waits) = check(&requests, Timestamp::default(), &accept());
        let found: Vec<_> = tasks.iter().map(|task| (task.seq, task.refused.as_deref())).collect();
        assert_eq!(found, [(1, None), (3, Some("bad input")), (6, None)]);
        assert_eq!(waits, ["unknown", "compiling"]);
        assert!(tasks.iter().zip([0, 2, 5]).all(|(task, at)| task.task.id == requests[at].id));
        let (tasks, waits) = check(&requests[4..5], Timestamp::default(), &accept());
        assert_eq!((tasks[0].refused.as_deref(), waits.len()), (Some("no plugin"), 0));
    }
}
