//! Tests of the budget, measured and counted.

use super::*;

const MIB: u64 = 1 << 20;

/// Creates a budget that counts reservations, as nothing is measured.
fn counted(bytes: u64) -> Arc<Budget> {
    Arc::new(Budget::new(bytes, Box::new(|| None)))
}

/// Creates a budget, and returns it with its resident bytes.
fn measured(bytes: u64) -> (Arc<Budget>, Arc<AtomicU64>) {
    let resident = Arc::new(AtomicU64::new(100 * MIB));
    let gauge = Arc::clone(&resident);
    (Arc::new(Budget::new(bytes, Box::new(move || Some(gauge.load(Relaxed))))), resident)
}

/// Waits until earlier grants have expired.
fn expire_recent(budget: &Budget) {
    let window = budget.window.load(Relaxed);
    while budget.window.load(Relaxed) < window + 2 {
        budget.measure();
        std::thread::yield_now();
    }
}

#[test]
fn a_dropped_reservation_is_released() {
    let budget = counted(10 * MIB);
    let reservation = budget.reserve(2 * MIB, false);
    reservation.grow_to(5 * MIB).unwrap();
    assert_eq!((budget.used(), budget.available(), reservation.used()), (5 * MIB, 5 * MIB, 5 * MIB));
    drop(reservation);
    assert_eq!((budget.used(), budget.available()), (0, 10 * MIB));
}

#[test]
fn a_run_that_outgrows_its_estimate_is_evicted_and_others_keep_theirs() {
    let budget = counted(10 * MIB);
    let (neighbour, hog) = (budget.reserve(4 * MIB, false), budget.reserve(2 * MIB, false));
    hog.grow_to(6 * MIB).unwrap();
    assert_eq!(hog.grow_to(7 * MIB), Err(Evicted { asked_bytes: 7 * MIB }));
    neighbour.grow_to(4 * MIB).unwrap();
}

#[test]
fn a_run_alone_may_exceed_the_budget() {
    let (measured, _resident) = measured(10 * MIB);
    for budget in [counted(10 * MIB), measured] {
        let reservation = budget.reserve(2 * MIB, false);
        reservation.grow_to(30 * MIB).unwrap();
        assert_eq!(budget.available(), 0);
        let other = budget.reserve(MIB, false);
        assert!(reservation.grow_to(31 * MIB).is_err());
        drop(other);
        reservation.grow_to(31 * MIB).unwrap();
    }
}

#[test]
fn an_estimate_never_exceeds_the_budget() {
    let budget = counted(10 * MIB);
    drop(budget.reserve(64 * MIB, false));
    let reservation = budget.reserve(64 * MIB, false);
    assert_eq!((budget.used(), budget.available()), (10 * MIB, 0));
    drop(reservation);
}

#[test]
fn concurrent_reservations_never_exceed_the_budget() {
    let budget = counted(8 * MIB);
    // Ensures that no other run is alone.
    let neighbour = budget.reserve(0, false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let reservation = budget.reserve(0, false);
                    let grown = (1..=4).take_while(|mib| reservation.grow_to(mib * MIB).is_ok()).count();
                    assert!(grown <= 4 && budget.used() <= 8 * MIB);
                }
            });
        }
    });
    drop(neighbour);
    assert_eq!(budget.used(), 0);
}

#[test]
fn untouched_memory_is_available_to_others() {
    let (budget, resident) = measured(10 * MIB);
    let sleepers: Vec<_> = (0..5).map(|_| budget.reserve(2 * MIB, false)).collect();
    assert_eq!(budget.available(), 0, "runs just admitted may touch all they were granted");
    resident.fetch_add(MIB, Relaxed);
    expire_recent(&budget);
    assert_eq!(budget.available(), 9 * MIB);
    drop(sleepers);
    assert_eq!((budget.used(), budget.available()), (0, 10 * MIB));
}

#[test]
fn memory_granted_to_short_runs_is_released_at_their_end() {
    let (budget, _resident) = measured(10 * MIB);
    let neighbour = budget.reserve(MIB, false);
    for _ in 0..1_000 {
        drop(budget.reserve(8 * MIB, false));
    }
    assert_eq!(budget.available(), 9 * MIB);
    drop(neighbour);
}

#[test]
fn a_full_reservation_counts_even_if_untouched() {
    let (budget, _resident) = measured(10 * MIB);
    let reservation = budget.reserve(4 * MIB, true);
    reservation.grow_to(6 * MIB).unwrap();
    expire_recent(&budget);
    assert_eq!(budget.available(), 4 * MIB);
    drop(reservation);
}

#[test]
fn over_budget_the_youngest_large_runs_are_evicted_but_never_the_last() {
    let (budget, resident) = measured(10 * MIB);
    let reservations: Vec<_> = [8, 1, 8, 8, 1]
        .map(|mib| {
            let reservation = Arc::new(budget.reserve(MIB, false));
            expire_recent(&budget);
            reservation.grow_to(mib * MIB).unwrap();
            reservation
        })
        .into();
    let check = || budget.check(true, || reservations.clone());
    let evicted =
        || reservations.iter().map(|reservation| reservation.eviction().is_some()).collect::<Vec<_>>();
    let paused = || reservations.iter().map(|reservation| reservation.must_pause()).collect::<Vec<_>>();
    expire_recent(&budget);
    check();
    assert_eq!((evicted(), paused()), (vec![false; 5], vec![false; 5]));
    resident.fetch_add(20 * MIB, Relaxed);
    check();
    assert_eq!(evicted(), [false, false, true, true, false]);
    assert_eq!(paused(), [true, true, false, false, true]);
    check();
    assert_eq!(evicted(), [false, false, true, true, false], "those two have not had the time to go");
    resident.fetch_add(1_000 * MIB, Relaxed);
    check();
    assert_eq!(evicted(), [true, false, true, true, false]);
    check();
    check();
    assert_eq!(evicted().iter().filter(|evicted| !**evicted).count(), 1, "{:?}", evicted());
    resident.fetch_sub(1_020 * MIB, Relaxed);
    check();
    assert_eq!(paused(), [false; 5]);
}

#[test]
fn a_sleeping_run_is_woken_when_it_is_evicted() {
    struct Flag(AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }
    let (budget, resident) = measured(10 * MIB);
    let (hog, other) = (Arc::new(budget.reserve(8 * MIB, false)), budget.reserve(MIB, false));
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    hog.set_waker(&Arc::clone(&flag).into());
    assert!(hog.eviction().is_none());
    resident.fetch_add(20 * MIB, Relaxed);
    budget.check(true, || vec![Arc::clone(&hog)]);
    assert!(flag.0.load(Relaxed));
    assert!(hog.eviction().is_some());
    drop(other);
}

#[test]
fn memory_of_the_host_itself_is_not_counted() {
    let (budget, resident) = measured(10 * MIB);
    resident.fetch_add(50 * MIB, Relaxed);
    while budget.age_ms() <= monitor::HOST_BYTES_AGE_MS {
        std::thread::yield_now();
    }
    let reservation = budget.reserve(MIB, false);
    assert_eq!(budget.available(), 9 * MIB);
    drop(reservation);
}
