//! The bytes of request and answer bodies that are on their way: one budget for all connections, so that
//! clients which send slowly or do not read cost a bounded amount of memory.
//!
//! The server counts answers here, `body.rs` requests, while they are read. The runtime sees the count: these
//! bytes are resident, but no guest is to blame for them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

use crate::problem::Problem;

/// The most bytes of all bodies together, but for one that is alone: it may be as large as its own limit.
const BYTES_MAX: u64 = 128 << 20;

/// Bytes of a body that is not counted: its connection costs as much already, and connections are bounded.
const SMALL_BYTES: u64 = 8 << 10;

/// The budget. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: u64,
    in_flight: Arc<AtomicU64>,
    freed: Notify,
}

impl BodyBudget {
    /// Makes the budget of a server; it counts in `in_flight`, for others to see.
    pub fn new(in_flight: Arc<AtomicU64>) -> Self {
        Self::with(in_flight, BYTES_MAX)
    }

    fn with(in_flight: Arc<AtomicU64>, bytes_max: u64) -> Self {
        Self(Arc::new(Shared { bytes_max, in_flight, freed: Notify::new() }))
    }

    /// Returns how many bytes are counted now.
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Relaxed)
    }

    /// Begins to count a body of which nothing is here yet.
    pub(crate) fn begin(&self) -> Reservation {
        Reservation { bodies: self.clone(), uncounted: SMALL_BYTES, bytes: 0 }
    }

    /// Counts the body of an answer until the client has taken it. Where there is no room for it, it is
    /// dropped and refused, unless the request has changed something: a client would repeat that.
    pub(crate) fn count(&self, answer: Response<Body>, may_refuse: bool) -> Result<Response<Body>, Problem> {
        let bytes = answer.body().size_hint().exact().unwrap_or_default();
        if bytes <= SMALL_BYTES {
            return Ok(answer);
        }
        let mut reservation = Reservation { bodies: self.clone(), uncounted: 0, bytes: 0 };
        if !reservation.try_grow(bytes) {
            if may_refuse {
                return Err(Problem::overloaded());
            }
            reservation.overdraw(bytes);
        }
        Ok(answer.map(|body| Body::new(Counted { body, reservation: Some(reservation) })))
    }
}

/// A part of the budget, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    bodies: BodyBudget,
    /// What may still come without being counted.
    uncounted: u64,
    bytes: u64,
}

impl Reservation {
    /// Counts so many more bytes as soon as there is room for them.
    pub(crate) async fn grow(&mut self, more: u64) {
        let free = more.min(self.uncounted);
        self.uncounted -= free;
        let more = more - free;
        if more == 0 {
            return;
        }
        loop {
            let bodies = self.bodies.clone();
            let freed = bodies.0.freed.notified();
            tokio::pin!(freed);
            // Before the look, so that nothing is missed that becomes free between the two.
            freed.as_mut().enable();
            if self.try_grow(more) {
                return;
            }
            freed.await;
        }
    }

    /// Counts so many more bytes if there is room for them, or if nothing else is on its way.
    fn try_grow(&mut self, more: u64) -> bool {
        let bytes_max = self.bodies.0.bytes_max;
        let grown = |in_flight: u64| {
            let all = in_flight + more;
            (all <= bytes_max || in_flight == self.bytes).then_some(all)
        };
        let has_room = self.bodies.0.in_flight.fetch_update(Relaxed, Relaxed, grown).is_ok();
        if has_room {
            self.bytes += more;
        }
        has_room
    }

    fn overdraw(&mut self, more: u64) {
        self.bodies.0.in_flight.fetch_add(more, Relaxed);
        self.bytes += more;
    }

    /// Counts these bytes as long as anybody has them.
    pub(crate) fn attach(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 { bytes } else { Bytes::from_owner(Held { bytes, _reservation: self }) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.bodies.0.in_flight.fetch_sub(self.bytes, Relaxed);
            self.bodies.0.freed.notify_waiters();
        }
    }
}

struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body whose bytes are counted. The connection drops a body once it has its last bytes, long before the
/// client has them; so the reservation goes with the bytes.
struct Counted {
    body: Body,
    reservation: Option<Reservation>,
}

impl HttpBody for Counted {
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const LARGE: u64 = 40 << 10;

    fn bodies(bytes_max: u64) -> BodyBudget {
        BodyBudget::with(Arc::default(), bytes_max)
    }

    fn answer(bytes: u64) -> Response<Body> {
        Response::new(Body::from(vec![0; bytes as usize]))
    }

    #[tokio::test]
    async fn an_answer_is_counted_until_its_last_byte_is_let_go() {
        let bodies = bodies(2 * LARGE);
        let counted = bodies.count(answer(LARGE), true).unwrap();
        assert_eq!(bodies.in_flight(), LARGE);
        let bytes = counted.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((bytes.len() as u64, bodies.in_flight()), (LARGE, LARGE));
        drop(bytes);
        assert_eq!(bodies.in_flight(), 0);
        drop(bodies.count(answer(LARGE), true).unwrap());
        assert_eq!(bodies.in_flight(), 0, "nobody took it");
    }

    #[test]
    fn an_answer_without_room_is_refused_unless_something_was_changed_or_it_is_alone() {
        let bodies = bodies(LARGE / 2);
        let alone = bodies.count(answer(LARGE), true).unwrap();
        assert!(bodies.count(answer(LARGE), true).is_err());
        let small = bodies.count(answer(SMALL_BYTES), true).unwrap();
        let changed = bodies.count(answer(LARGE), false).unwrap();
        assert_eq!(bodies.in_flight(), 2 * LARGE);
        drop((alone, small, changed));
        assert_eq!(bodies.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_request_waits_for_room_and_gets_it() {
        let bodies = bodies(2 * LARGE);
        let mut first = bodies.begin();
        first.grow(LARGE + SMALL_BYTES).await;
        let mut second = bodies.begin();
        let mut growing = Box::pin(second.grow(LARGE + SMALL_BYTES + 1));
        assert!(futures_pending(&mut growing).await);
        assert_eq!(bodies.in_flight(), LARGE);
        drop(first);
        growing.await;
        assert_eq!(bodies.in_flight(), LARGE + 1);
    }

    async fn futures_pending(future: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
