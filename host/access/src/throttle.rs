//! Counts the wrong keys of each address, within bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use wasmill_model::{TimeDelta, Timestamp};

/// Wrong keys that an address may present in a minute.
pub(crate) const WRONG_MAX: u32 = 20;
const WINDOW: TimeDelta = TimeDelta::seconds(60);

/// Addresses that are remembered; beyond, the oldest is forgotten.
const ADDRESSES_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, Wrong>>);

#[derive(Clone, Copy, Debug)]
struct Wrong {
    since: Timestamp,
    count: u32,
}

impl Wrong {
    /// Returns true while its minute lasts; one that a changed clock put into the future is over.
    fn lasts(self, now: Timestamp) -> bool {
        (TimeDelta::zero()..WINDOW).contains(&(now - self.since))
    }
}

impl Throttle {
    /// Returns the seconds to wait if this address has presented too many wrong keys.
    pub(crate) fn wait_secs(&self, peer: IpAddr, now: Timestamp) -> Option<u32> {
        let wrong = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = wrong.get(&network(peer)).filter(|wrong| wrong.lasts(now) && wrong.count >= WRONG_MAX)?;
        u32::try_from((WINDOW - (now - wrong.since)).num_seconds() + 1).ok()
    }

    /// Counts a wrong key.
    pub(crate) fn count(&self, peer: IpAddr, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = network(peer);
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&peer) {
            all.retain(|_, wrong| wrong.lasts(now));
            let oldest = all.iter().min_by_key(|(_, wrong)| wrong.since).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest.filter(|_| all.len() >= ADDRESSES_MAX) {
                all.remove(&oldest);
            }
        }
        let wrong = all.entry(peer).or_insert(Wrong { since: now, count: 0 });
        if !wrong.lasts(now) {
            *wrong = Wrong { since: now, count: 0 };
        }
        wrong.count += 1;
    }
}

/// Returns the address, or the /64 of an IPv6 address: one client has a whole one.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6((peer.to_bits() & !u128::from(u64::MAX)).into()),
        peer => peer,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn an_address_waits_for_the_rest_of_its_minute() {
        let throttle = Throttle::default();
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        (0..WRONG_MAX).for_each(|_| throttle.count(peer, at(100)));
        assert_eq!(throttle.wait_secs("2001:db8::2".parse().unwrap(), at(130)), Some(31), "the same /64");
        assert_eq!(throttle.wait_secs("2001:db8:0:1::1".parse().unwrap(), at(130)), None);
        assert_eq!(throttle.wait_secs(peer, at(160)), None);
        assert_eq!(throttle.wait_secs(peer, at(99)), None, "the clock was set back");
        throttle.count(peer, at(161));
        assert_eq!(throttle.wait_secs(peer, at(161)), None);
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let throttle = Throttle::default();
        for bits in 0..10_000 {
            throttle.count(IpAddr::V4(Ipv4Addr::from_bits(bits)), at(i64::from(bits) / 1_000));
        }
        assert_eq!(throttle.0.lock().unwrap().len(), ADDRESSES_MAX);
    }
}
