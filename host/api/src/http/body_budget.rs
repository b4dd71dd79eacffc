//! Limits the memory of all request and response bodies in flight with one budget for all connections, so
//! that slow clients cost a bounded amount.
//!
//! The server counts responses here, and `body.rs` counts requests while it reads them. The runtime reads the
//! counter: these bytes are resident, but not charged to guests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

use crate::problem::Problem;
use crate::problem::kind;

/// Maximum bytes of all bodies together. A single body may exceed it, up to its own limit.
const BYTES_MAX: u64 = 128 << 20;

/// Bodies up to this size are not counted: their connection costs as much, and connections are bounded.
const SMALL_BYTES: u64 = 8 << 10;

/// The shared budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: u64,
    in_flight: Arc<AtomicU64>,
    freed: Notify,
}

impl BodyBudget {
    /// Creates a budget that publishes its count in `in_flight`.
    pub fn new(in_flight: Arc<AtomicU64>) -> Self {
        Self::with_limit(in_flight, BYTES_MAX)
    }

    fn with_limit(in_flight: Arc<AtomicU64>, bytes_max: u64) -> Self {
        Self(Arc::new(Shared { bytes_max, in_flight, freed: Notify::new() }))
    }

    /// Returns the bytes counted now.
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Relaxed)
    }

    /// Starts an empty reservation for a request body.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation { budget: self.clone(), free_bytes: SMALL_BYTES, bytes: 0 }
    }

    /// Counts a response body until the client has received it. Without budget the response is dropped and
    /// refused, unless the request changed something: the client would repeat it.
    pub(crate) fn track(
        &self,
        response: Response<Body>,
        may_refuse: bool,
    ) -> Result<Response<Body>, Problem> {
        let bytes = response.body().size_hint().exact().unwrap_or_default();
        if bytes <= SMALL_BYTES {
            return Ok(response);
        }
        let mut reservation = Reservation { budget: self.clone(), free_bytes: 0, bytes: 0 };
        if !reservation.try_grow(bytes) {
            if may_refuse {
                return Err(overloaded());
            }
            reservation.force_grow(bytes);
        }
        Ok(response.map(|body| Body::new(TrackedBody { body, reservation: Some(reservation) })))
    }
}

/// A part of the budget, released on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: BodyBudget,
    /// Bytes that may still arrive uncounted.
    free_bytes: u64,
    bytes: u64,
}

impl Reservation {
    /// Waits until the budget has room for this many more bytes, and counts them.
    pub(crate) async fn grow(&mut self, more: u64) {
        let free = more.min(self.free_bytes);
        self.free_bytes -= free;
        let more = more - free;
        if more == 0 {
            return;
        }
        loop {
            let budget = self.budget.clone();
            let freed = budget.0.freed.notified();
            tokio::pin!(freed);
            // Enabled before the check, so a release in between is not missed.
            freed.as_mut().enable();
            if self.try_grow(more) {
                return;
            }
            freed.await;
        }
    }

    /// Counts this many more bytes if they fit, or if nothing else is in flight.
    fn try_grow(&mut self, more: u64) -> bool {
        let bytes_max = self.budget.0.bytes_max;
        let grown = |in_flight: u64| {
            let all = in_flight + more;
            (all <= bytes_max || in_flight == self.bytes).then_some(all)
        };
        let is_granted = self.budget.0.in_flight.fetch_update(Relaxed, Relaxed, grown).is_ok();
        if is_granted {
            self.bytes += more;
        }
        is_granted
    }

    fn force_grow(&mut self, more: u64) {
        self.budget.0.in_flight.fetch_add(more, Relaxed);
        self.bytes += more;
    }

    /// Ties the reservation to the bytes, until the last clone is dropped.
    pub(crate) fn attach(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 { bytes } else { Bytes::from_owner(TrackedBytes { bytes, _reservation: self }) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.0.in_flight.fetch_sub(self.bytes, Relaxed);
            self.budget.0.freed.notify_waiters();
        }
    }
}

struct TrackedBytes {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for TrackedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A response body whose bytes are counted. The connection drops the body once it has the last frame, long
/// before the client has it; so the reservation moves into the bytes.
struct TrackedBody {
    body: Body,
    reservation: Option<Reservation>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let attach = |bytes| match self.reservation.take() {
            Some(reservation) => reservation.attach(bytes),
            None => bytes,
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(attach))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body budget is used up.
pub(crate) fn overloaded() -> Problem {
    let detail = "other request and response bodies use the whole body budget; try again shortly";
    Problem::of(kind::OVERLOADED, detail)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const LARGE_BYTES: u64 = 40 << 10;

    fn budget(bytes_max: u64) -> BodyBudget {
        BodyBudget::with_limit(Arc::default(), bytes_max)
    }

    fn response(bytes: u64) -> Response<Body> {
        Response::new(Body::from(vec![0; bytes as usize]))
    }

    #[tokio::test]
    async fn a_response_is_counted_until_its_bytes_are_dropped() {
        let budget = budget(2 * LARGE_BYTES);
        let tracked = budget.track(response(LARGE_BYTES), true).unwrap();
        assert_eq!(budget.in_flight(), LARGE_BYTES);
        let bytes = tracked.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((bytes.len() as u64, budget.in_flight()), (LARGE_BYTES, LARGE_BYTES));
        drop(bytes);
        assert_eq!(budget.in_flight(), 0);
        drop(budget.track(response(LARGE_BYTES), true).unwrap());
        assert_eq!(budget.in_flight(), 0, "an unread response is released");
    }

    #[test]
    fn a_response_over_budget_is_refused_unless_it_is_unsafe_or_alone() {
        let budget = budget(LARGE_BYTES / 2);
        let alone = budget.track(response(LARGE_BYTES), true).unwrap();
        assert!(budget.track(response(LARGE_BYTES), true).is_err());
        let small = budget.track(response(SMALL_BYTES), true).unwrap();
        let changed = budget.track(response(LARGE_BYTES), false).unwrap();
        assert_eq!(budget.in_flight(), 2 * LARGE_BYTES);
        drop((alone, small, changed));
        assert_eq!(budget.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_request_body_waits_for_the_budget() {
        let budget = budget(2 * LARGE_BYTES);
        let mut first = budget.reserve();
        first.grow(LARGE_BYTES + SMALL_BYTES).await;
        let mut second = budget.reserve();
        let mut growing = Box::pin(second.grow(LARGE_BYTES + SMALL_BYTES + 1));
        assert!(is_pending(&mut growing).await);
        assert_eq!(budget.in_flight(), LARGE_BYTES);
        drop(first);
        growing.await;
        assert_eq!(budget.in_flight(), LARGE_BYTES + 1);
    }

    async fn is_pending(future: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
