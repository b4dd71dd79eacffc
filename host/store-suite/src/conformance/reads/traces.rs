//! The spans of a task: recorded once their end is stored, by the host that stores it.

use std::sync::Arc;

use wasmill_model::{
    Clock, NewTask, Sampler, Span, SpanId, TaskId, Timestamp, TraceContext, Tracer, Transition,
};
use wasmill_store::Store;

use crate::fixture::{Fixture, StoreExt, at, claim_one, failure, get, new_task};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What time the host was started.
struct Started(Timestamp);

impl Clock for Started {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn tracer(started_at: Timestamp) -> Tracer {
    Tracer::new(Sampler::default(), Arc::new(Started(started_at)), |_| {})
}

fn open(fixture: &impl Fixture, tracer: &Tracer, now: Timestamp) -> Store {
    fixture.open_with(1_000, tracer, now).0
}

async fn insert(store: &Store, caller: &str) -> TaskId {
    let task = NewTask { trace: Some(caller.parse().expect("a context")), ..new_task() };
    let id = task.id;
    store.insert(vec![task]).await.expect("inserted");
    id
}

/// Fetches spans and returns their names and what became of what they tell of, in their order.
fn recorded(tracer: &Tracer) -> (Vec<Span>, Vec<String>) {
    let spans = tracer.fetch(usize::MAX);
    let outcome = |span: &Span| {
        let found =
            span.attributes.iter().find(|(name, _)| matches!(*name, "wasmill.outcome" | "wasmill.state"));
        match found {
            Some((_, wasmill_model::SpanAttribute::Text(outcome))) => format!("{}: {outcome}", span.name),
            _ => span.name.to_string(),
        }
    };
    let outcomes = spans.iter().map(outcome).collect();
    (spans, outcomes)
}

pub async fn a_task_keeps_its_trace_and_its_spans_are_recorded_when_they_end(fixture: &impl Fixture) {
    let tracer = tracer(at(0));
    let store = open(fixture, &tracer, at(0));
    let caller: TraceContext = format!("{CALLER} a=b").parse().expect("a context");
    let id = insert(&store, &caller.to_string()).await;
    assert_eq!(get(&store, id).await.trace, Some(caller.clone()));
    assert!(recorded(&tracer).1.is_empty(), "nothing has ended");
    let first = claim_one(&store, at(2)).await;
    let run = first.claim.trace().expect("it is part of a trace").context().clone();
    assert_eq!((run.trace_id, run.span_id), (caller.trace_id, SpanId::of_run(id, 1)));
    store.finish(&first.claim, Transition::RetryAt(at(5), failure()), None, at(4)).await.expect("stored");
    let second = claim_one(&store, at(7)).await;
    store.finish(&second.claim, Transition::Completed("ok".into()), None, at(9)).await.expect("stored");
    let late = store.finish(&second.claim, Transition::Failed(failure()), None, at(9)).await;
    assert_eq!(late, Ok(false), "a refused end is not recorded");

    let (spans, outcomes) = recorded(&tracer);
    assert_eq!(outcomes, ["wait", "run a: io", "wait", "run a: completed", "task a: completed"]);
    let times: Vec<_> = spans.iter().map(|span| (span.start, span.end)).collect();
    assert_eq!(times, [(at(0), at(2)), (at(2), at(4)), (at(5), at(7)), (at(7), at(9)), (at(0), at(9))]);
    let task = SpanId::of_task(id);
    let (last, parts) = spans.split_last().expect("spans");
    assert!(parts.iter().all(|span| span.parent == Some(task)));
    assert_eq!((last.id, last.parent), (task, Some(caller.span_id)));
    assert!(spans.iter().all(|span| span.trace_id == caller.trace_id && span.state == caller.state));
    assert_eq!(spans[1].failure.as_deref(), Some(failure().message.as_str()));
    assert_eq!(last.failure, None);
}

pub async fn the_span_of_a_crashed_run_is_recorded_by_the_next_host(fixture: &impl Fixture) {
    let first = tracer(at(0));
    let store = open(fixture, &first, at(0));
    let id = insert(&store, CALLER).await;
    let sent = claim_one(&store, at(1)).await.claim.trace().expect("a trace").context().clone();
    drop(store);
    let next = tracer(at(10));
    let store = open(fixture, &next, at(10));
    let again = claim_one(&store, at(12)).await;
    store.finish(&again.claim, Transition::Requeued, None, at(13)).await.expect("stored");
    let last = claim_one(&store, at(15)).await;
    store.finish(&last.claim, Transition::Failed(failure()), None, at(16)).await.expect("stored");
    let (spans, outcomes) = recorded(&next);
    let expected = ["run a: host-crash", "wait", "run a: requeued", "wait", "run a: io", "task a: failed"];
    assert_eq!(outcomes, expected);
    assert_eq!((spans[0].id, spans[0].start, spans[0].end), (sent.span_id, at(1), at(10)));
    assert_eq!((spans[1].start, spans[1].end), (at(10), at(12)), "it did not wait while it ran");
    assert!(spans.iter().all(|span| span.trace_id == sent.trace_id));
    assert_eq!(spans[5].failure.as_deref(), Some(failure().message.as_str()));
    assert_eq!(get(&store, id).await.trace.map(|trace| trace.traceparent()).as_deref(), Some(CALLER));
}

pub async fn every_end_of_a_task_records_its_span_once(fixture: &impl Fixture) {
    let tracer = tracer(at(0));
    let store = open(fixture, &tracer, at(0));
    let cancelled = insert(&store, CALLER).await;
    let claimed = claim_one(&store, at(1)).await;
    store.cancel(cancelled, at(2)).await.expect("asked");
    assert_eq!(recorded(&tracer).1, ["wait"]);
    assert_eq!(store.finish(&claimed.claim, Transition::Requeued, None, at(3)).await, Ok(false));
    store.remove(cancelled, at(4)).await.expect("removed");
    assert_eq!(recorded(&tracer).1, ["run a: cancelled", "task a: cancelled"]);

    let removed = insert(&store, CALLER).await;
    let claimed = claim_one(&store, at(5)).await;
    store.remove(removed, at(6)).await.expect("asked");
    crate::fixture::end_stopped(&store, &claimed.claim, at(6)).await;
    assert_eq!(recorded(&tracer).1, ["wait", "run a: deleted", "task a: deleted"]);

    let waits = insert(&store, CALLER).await;
    store.cancel(waits, at(7)).await.expect("cancelled");
    assert_eq!(recorded(&tracer).1, ["task a: cancelled"]);
}

pub async fn an_unsampled_trace_is_propagated_and_not_recorded(fixture: &impl Fixture) {
    let on = tracer(at(0));
    for (tracer, caller) in [(&Tracer::default(), CALLER), (&on, &CALLER.replace("-01", "-00"))] {
        let store = open(fixture, tracer, at(0));
        insert(&store, caller).await;
        let claimed = claim_one(&store, at(1)).await;
        let trace = claimed.claim.trace().expect("it is part of a trace");
        assert_eq!(trace.context().traceparent(), caller, "the caller is the parent of what follows");
        store.finish(&claimed.claim, Transition::Completed("".into()), None, at(2)).await.expect("stored");
        store.insert(vec![new_task()]).await.expect("inserted");
        let claimed = claim_one(&store, at(3)).await;
        assert!(claimed.claim.trace().is_none(), "it is part of none");
        store.finish(&claimed.claim, Transition::Completed("".into()), None, at(4)).await.expect("stored");
        store.close().await;
    }
    assert!(recorded(&on).1.is_empty());
}
