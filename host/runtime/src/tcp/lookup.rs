//! A name look-up of a guest: what it waits for, and then the addresses one by one.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec::IntoIter;

use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::Pollable;

use crate::observe::tcp_sockets::ListedSocket;
use crate::tcp::guest_tcp::{GuestTcp, LookupError};

/// A look-up. Dropping it abandons it.
pub(crate) struct Lookup(State);

type Found = Result<Vec<IpAddr>, LookupError>;

enum State {
    Pending { found: Pin<Box<dyn Future<Output = Found> + Send>>, _listed: ListedSocket },
    Done(Result<IntoIter<IpAddr>, LookupError>),
}

impl Lookup {
    /// Starts a look-up. An address in place of a name is its own answer.
    ///
    /// # Errors
    ///
    /// Fails at once if the name may not be looked up.
    pub(crate) fn start(tcp: &Arc<GuestTcp>, name: String) -> Result<Self, LookupError> {
        if let Some(address) = literal(&name) {
            return Ok(Self(State::Done(Ok(vec![address].into_iter()))));
        }
        let listed = tcp.start_look_up(&name)?;
        let tcp = Arc::clone(tcp);
        let found = Box::pin(async move { tcp.look_up(&name).await });
        Ok(Self(State::Pending { found, _listed: listed }))
    }

    /// Returns the next address; `None` if none is left. Pending while the name is being looked up.
    pub(crate) fn next_address(&mut self) -> Poll<Result<Option<IpAddr>, LookupError>> {
        let mut context = Context::from_waker(Waker::noop());
        self.poll(&mut context).map(|()| match &mut self.0 {
            State::Done(Ok(addresses)) => Ok(addresses.next()),
            State::Done(Err(error)) => Err(*error),
            State::Pending { .. } => unreachable!("it is done"),
        })
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let State::Pending { found, .. } = &mut self.0 {
            let Poll::Ready(found) = found.as_mut().poll(context) else { return Poll::Pending };
            self.0 = State::Done(found.map(Vec::into_iter));
        }
        Poll::Ready(())
    }
}

#[async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

/// Returns the address that a text is.
pub(crate) fn literal(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
