//! Bounds the connections of one address, so that a client alone cannot take all places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wasmill_access::network;

/// The interval between log messages.
const WARNING: Duration = Duration::from_secs(60);

/// The open connections by address; addresses without one are forgotten.
#[derive(Clone)]
pub(super) struct PerAddress {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max: usize,
}

/// One of the connections of an address; dropping it makes room.
pub(super) struct Place {
    per_address: Option<(PerAddress, IpAddr)>,
}

impl PerAddress {
    /// Allows each address this many connections.
    pub(super) fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    /// Returns a place that is not counted.
    pub(super) fn uncounted() -> Place {
        Place { per_address: None }
    }

    /// Takes a place of an address; `None` if it has as many as it may.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Place> {
        let peer = network(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&peer).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        open.insert(peer, count + 1);
        Some(Place { per_address: Some((self.clone(), peer)) })
    }

    /// Warns that an address is over the limit, at most once a minute.
    pub(super) fn warn(&self, peer: IpAddr, warned_at: &mut Option<Instant>) {
        if warned_at.is_none_or(|warned_at| warned_at.elapsed() >= WARNING) {
            tracing::warn!(
                %peer, max = self.max,
                "closed a connection at once: its address has as many as --connections-per-address allows (logged at \
                 most once a minute)"
            );
            *warned_at = Some(Instant::now());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((per_address, peer)) = &self.per_address else { return };
        let mut open = per_address.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.remove(peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_takes_none_of_others() {
        let per_address = PerAddress::new(2);
        let of = |text: &str| per_address.take(text.parse().unwrap());
        let first = of("203.0.113.1").expect("room");
        let _second = of("::ffff:203.0.113.1").expect("the same address");
        assert!(of("203.0.113.1").is_none());
        let _other = of("203.0.113.2").expect("another address");
        let _six = (of("2001:db8::1").expect("room"), of("2001:db8::2").expect("room"));
        assert!(of("2001:db8::3").is_none(), "the same /64");
        drop(first);
        let _again = of("203.0.113.1").expect("room again");
        assert!(of("203.0.113.1").is_none());
    }

    #[test]
    fn addresses_without_connections_take_no_memory() {
        let per_address = PerAddress::new(1);
        for bits in 0..10_000_u32 {
            assert!(per_address.take(IpAddr::V4(bits.into())).is_some());
        }
        assert!(per_address.open.lock().unwrap().is_empty());
    }
}
