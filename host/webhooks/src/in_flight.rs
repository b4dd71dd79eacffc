//! Open deliveries by receiver, and how many each may have. Plain data without I/O.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use wasmill_model::TaskId;
use wasmill_store::Delivery;

/// Maximum number of open deliveries, in total and per receiver.
const IN_FLIGHT_MAX: usize = 256;
pub(crate) const PER_RECEIVER_MAX: usize = 8;

/// Maximum time to the response of a prompt receiver.
const PROMPT_MAX: Duration = Duration::from_secs(1);

/// Maximum number of receivers remembered.
const RECEIVERS_MAX: usize = 10_000;

/// How a receiver behaved, from the worst; it decides which share of the open deliveries may be its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// The last attempt got no response.
    Silent,
    /// No attempt is known, or the last response took long.
    Unproven,
    /// The last response came soon.
    Prompt,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Silent, Self::Unproven, Self::Prompt];

    /// Returns how many deliveries to receivers of this standing and worse ones may be open together. The rest is
    /// kept for better ones, which they can therefore not delay, however many they are.
    fn share(self, max: usize) -> usize {
        match self {
            Self::Silent => max / 4,
            Self::Unproven => max / 4 * 3,
            Self::Prompt => max,
        }
    }
}

/// What the last attempt says of a receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reception {
    /// Whether it accepted the delivery.
    pub(crate) is_accepted: bool,
    /// The time to its response, if there was one.
    pub(crate) response_time: Option<Duration>,
}

impl Reception {
    /// There was no response.
    pub(crate) const NONE: Self = Self { is_accepted: false, response_time: None };

    fn standing(self) -> Standing {
        match self.response_time {
            None => Standing::Silent,
            Some(time) if time > PROMPT_MAX => Standing::Unproven,
            Some(_) => Standing::Prompt,
        }
    }
}

/// Open deliveries.
#[derive(Debug)]
pub(crate) struct InFlight {
    max: usize,
    /// The open deliveries of each receiver, with its standing when they were opened.
    tasks: HashMap<String, HashMap<TaskId, Standing>>,
    /// Their number by standing.
    open: [usize; 3],
    receivers: HashMap<String, Reception>,
}

impl InFlight {
    /// Creates the state of no deliveries, which have this many connections.
    pub(crate) fn new(connections_max: usize) -> Self {
        let max = IN_FLIGHT_MAX.min(connections_max);
        Self { max, tasks: HashMap::new(), open: [0; 3], receivers: HashMap::new() }
    }

    /// Returns how many more deliveries may be opened.
    pub(crate) fn free(&self) -> usize {
        self.max.saturating_sub(self.total())
    }

    /// Returns the receivers without capacity, as far as they are known.
    pub(crate) fn full(&self) -> HashSet<String> {
        let mut full: HashSet<_> =
            self.tasks.keys().filter(|origin| self.capacity(origin) == 0).cloned().collect();
        if !self.has_share(Standing::Silent) {
            let silent = self.receivers.iter().filter(|(_, last)| last.standing() == Standing::Silent);
            full.extend(silent.map(|(origin, _)| origin.clone()));
        }
        full
    }

    /// Returns the number of open deliveries.
    pub(crate) fn total(&self) -> usize {
        self.open.iter().sum()
    }

    /// Opens a delivery if there is capacity and it is not open already.
    pub(crate) fn begin(&mut self, delivery: &Delivery) -> bool {
        let Delivery { origin, task, .. } = delivery;
        let standing = self.standing(delivery);
        let is_open = self.tasks.get(origin).is_some_and(|tasks| tasks.contains_key(task));
        if is_open || self.capacity(origin) == 0 || !self.has_share(standing) {
            return false;
        }
        self.tasks.entry(origin.clone()).or_default().insert(*task, standing);
        self.open[standing as usize] += 1;
        true
    }

    /// Closes a delivery, and remembers what it says of the receiver, if anything.
    pub(crate) fn end(&mut self, origin: &str, task: TaskId, reception: Option<Reception>) {
        if let Some(tasks) = self.tasks.get_mut(origin)
            && let Some(standing) = tasks.remove(&task)
        {
            self.open[standing as usize] -= 1;
            if tasks.is_empty() {
                self.tasks.remove(origin);
            }
        }
        let Some(reception) = reception else { return };
        if self.receivers.len() >= RECEIVERS_MAX {
            // Usually there are few; one attempt each proves them again.
            self.receivers.clear();
        }
        self.receivers.insert(origin.to_owned(), reception);
    }

    fn standing(&self, delivery: &Delivery) -> Standing {
        match self.receivers.get(&delivery.origin) {
            Some(last) => last.standing(),
            // An earlier host failed to deliver it.
            None if delivery.attempts > delivery.attempts_before => Standing::Silent,
            None => Standing::Unproven,
        }
    }

    /// Returns true if another delivery to a receiver of this standing may be opened.
    fn has_share(&self, standing: Standing) -> bool {
        Standing::ALL.into_iter().filter(|of| *of >= standing).all(|of| {
            let open: usize = self.open[..=of as usize].iter().sum();
            open < of.share(self.max)
        })
    }

    /// Returns how many more deliveries a receiver may have: one at a time if the last one failed.
    fn capacity(&self, origin: &str) -> usize {
        let has_failed = self.receivers.get(origin).is_some_and(|last| !last.is_accepted);
        let max = if has_failed { 1 } else { PER_RECEIVER_MAX };
        max.saturating_sub(self.tasks.get(origin).map_or(0, HashMap::len))
    }
}

#[cfg(test)]
mod tests {
    use wasmill_store::TaskRef;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(14);

    fn delivery(origin: &str) -> Delivery {
        Delivery {
            task_ref: TaskRef(1),
            task: TaskId::new(),
            url: origin.to_owned(),
            origin: origin.to_owned(),
            attempts: 0,
            attempts_before: 0,
            round: 0,
        }
    }

    /// Lets one attempt to each of 300 receivers end like this.
    fn known(name: &str, in_flight: &mut InFlight, response_time: Option<Duration>) -> Vec<String> {
        let origins: Vec<_> = (0..300).map(|nth| format!("{name}{nth}")).collect();
        for origin in &origins {
            let delivery = delivery(origin);
            assert!(in_flight.begin(&delivery));
            let reception = Reception { is_accepted: response_time.is_some(), response_time };
            in_flight.end(origin, delivery.task, Some(reception));
        }
        origins
    }

    /// Opens as many deliveries to these receivers as possible, and returns their number.
    fn open(in_flight: &mut InFlight, origins: &[String]) -> usize {
        let twice = origins.iter().chain(origins);
        twice.filter(|origin| in_flight.begin(&delivery(origin))).count()
    }

    #[test]
    fn silent_receivers_delay_no_others_however_many_they_are() {
        let mut in_flight = InFlight::new(2_048);
        let silent = known("silent", &mut in_flight, None);
        let prompt = known("prompt", &mut in_flight, Some(SOON));
        assert_eq!(open(&mut in_flight, &silent), 64);
        assert_eq!(in_flight.full().len(), 300, "they are not even read");
        let new: Vec<_> = (0..300).map(|nth| format!("new{nth}")).collect();
        assert_eq!(open(&mut in_flight, &new), 128);
        assert_eq!(open(&mut in_flight, &prompt), 64);
        assert_eq!((in_flight.free(), in_flight.total()), (0, 256));
    }

    #[test]
    fn slow_and_new_receivers_delay_no_prompt_one() {
        let mut in_flight = InFlight::new(2_048);
        let prompt = known("prompt", &mut in_flight, Some(SOON));
        let slow = known("slow", &mut in_flight, Some(LATE));
        assert_eq!(open(&mut in_flight, &slow), 192);
        assert!(!in_flight.begin(&delivery("new")));
        assert_eq!(open(&mut in_flight, &prompt), 64);
    }

    #[test]
    fn prompt_receivers_may_have_all_deliveries() {
        let mut in_flight = InFlight::new(2_048);
        let prompt = known("prompt", &mut in_flight, Some(SOON));
        assert_eq!(open(&mut in_flight, &prompt), 256);
        assert!(!in_flight.begin(&delivery("new")) && in_flight.free() == 0);
    }

    #[test]
    fn a_delivery_that_an_earlier_host_failed_to_make_counts_as_one_to_a_silent_receiver() {
        let mut in_flight = InFlight::new(2_048);
        let failed = |nth| Delivery { attempts: 3, attempts_before: 1, ..delivery(&format!("old{nth}")) };
        assert_eq!((0..300).filter(|nth| in_flight.begin(&failed(*nth))).count(), 64);
        assert!(in_flight.begin(&delivery("new")));
    }

    #[test]
    fn few_connections_are_shared_alike() {
        let mut in_flight = InFlight::new(8);
        let silent = known("silent", &mut in_flight, None);
        let prompt = known("prompt", &mut in_flight, Some(SOON));
        assert_eq!((open(&mut in_flight, &silent), open(&mut in_flight, &prompt)), (2, 6));
    }

    #[test]
    fn a_receiver_has_at_most_eight_deliveries_and_one_if_the_last_failed() {
        let mut in_flight = InFlight::new(2_048);
        let deliveries: Vec<_> = (0..20).map(|_| delivery("a")).collect();
        assert_eq!(deliveries.iter().filter(|delivery| in_flight.begin(delivery)).count(), 8);
        let refused = Reception { is_accepted: false, response_time: Some(SOON) };
        for delivery in &deliveries[..8] {
            in_flight.end("a", delivery.task, Some(refused));
        }
        assert!(in_flight.begin(&deliveries[8]) && !in_flight.begin(&deliveries[8]));
        assert!(!in_flight.begin(&deliveries[9]));
        // A delivery of a task that is gone tells nothing.
        in_flight.end("a", deliveries[8].task, None);
        assert!(in_flight.begin(&deliveries[9]) && !in_flight.begin(&deliveries[8]));
    }
}
