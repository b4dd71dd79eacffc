//! The timing of a schedule: a cron expression in a time zone. Pure arithmetic without a clock.
//!
//! `croner` parses the expression, `chrono-tz` has the time zones. Across a clock change, an expression that
//! matches every hour runs at each real hour. Any other runs once per local time: one that is skipped in
//! spring is due at the end of the gap, and of one that occurs twice in autumn the first counts.
//!
//! Every search ends after a bounded number of steps, at most a fraction of a millisecond, so any thread may
//! run it.

mod expression;
mod invalid;
mod search;

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, LocalResult, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;

pub use self::expression::TIMING_BYTES_MAX;
pub use self::invalid::InvalidTiming;
use self::search::{Steps, Times, is_day, next_day, next_local};
use crate::Timestamp;

/// Maximum due times that are counted one by one.
const COUNTED_MAX: usize = 20_000;

/// A cron expression in a time zone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Timing(Arc<TimingState>);

#[derive(Debug)]
struct TimingState {
    text: String,
    cron: Cron,
    times: Times,
    zone: Tz,
}

/// The due times of a schedule in an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueTimes {
    /// The newest due times, oldest first.
    pub newest: Vec<Timestamp>,
    /// Number of earlier due times, counted up to about 20,000.
    pub older: u64,
}

impl Timing {
    /// Parses an expression of five fields, of six with seconds first, or a macro such as `@hourly`, and the
    /// IANA name of a time zone in any case.
    ///
    /// # Errors
    ///
    /// Fails with the one that is invalid and why. An expression that is never due is invalid, too.
    pub fn of(expression: &str, zone: &str) -> Result<Self, InvalidTiming> {
        let known = TZ_VARIANTS.iter().find(|known| known.name().eq_ignore_ascii_case(zone));
        let zone = *known.ok_or(InvalidTiming::Zone)?;
        let text = expression.trim();
        let cron = expression::read(text)?;
        let times = Times::of(&cron);
        // An expression that is not due in one of these years is never due.
        let some_time = DateTime::UNIX_EPOCH.naive_utc();
        next_local(&cron, times, some_time, &mut Steps::new()).ok_or(InvalidTiming::Never)?;
        Ok(Self(Arc::new(TimingState { text: text.to_owned(), cron, times, zone })))
    }

    /// Returns the expression as it was written.
    pub fn expression(&self) -> &str {
        &self.0.text
    }

    /// Returns the name of the time zone.
    pub fn zone(&self) -> &'static str {
        self.0.zone.name()
    }

    /// Returns the first due time after `moment`; `None` if it is centuries away.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.search(moment, &mut Steps::new())
    }

    fn search(&self, moment: Timestamp, steps: &mut Steps) -> Option<Timestamp> {
        // Due times are whole seconds, so all moments within a second have the same next one.
        let moment = moment.with_nanosecond(0)?;
        if self.0.times.is_every_hour() {
            self.next_hourly(moment, steps)
        } else {
            self.next_of_local_times(moment, steps)
        }
    }

    /// Searches local times, each of which counts once. In ascending order they are ascending moments, except
    /// those that share one.
    fn next_of_local_times(&self, moment: Timestamp, steps: &mut Steps) -> Option<Timestamp> {
        let TimingState { cron, times, zone, .. } = &*self.0;
        let second = TimeDelta::seconds(1);
        let mut from = moment.with_timezone(zone).naive_local() + second;
        // In an hour that clocks show for the second time, nothing is due until it ends.
        if let LocalResult::Ambiguous(first, again) = zone.from_local_datetime(&(from - second))
            && again == moment
        {
            let before = first.with_timezone(&Utc);
            let change = change_within(zone, before, moment);
            from = (change - second).with_timezone(zone).naive_local() + second;
        }
        loop {
            let local = next_local(cron, *times, from, steps)?;
            let [due, _] = moments(zone, local)?;
            if due > moment {
                return Some(due);
            }
            from = local + second;
        }
    }

    /// Searches by real hours, whatever clocks show.
    fn next_hourly(&self, moment: Timestamp, steps: &mut Steps) -> Option<Timestamp> {
        let TimingState { cron, times, zone, .. } = &*self.0;
        let mut at = moment + TimeDelta::seconds(1);
        loop {
            steps.take()?;
            let local = at.with_timezone(zone).naive_local();
            if !is_day(cron, local.date()) {
                let day = next_day(cron, local.date().succ_opt()?, steps)?;
                let begin = moments(zone, day.and_time(NaiveTime::MIN))?;
                at = begin.into_iter().find(|begin| *begin > at)?;
                continue;
            }
            let found = times.in_hour_from(local.minute(), local.second());
            let (minute, second) = found.unwrap_or((60, 0));
            let then = at
                + TimeDelta::minutes(i64::from(minute) - i64::from(local.minute()))
                + TimeDelta::seconds(i64::from(second) - i64::from(local.second()));
            if offset(zone, then) != offset(zone, at) {
                // A clock change comes first: search again from there.
                at = change_within(zone, at, then);
            } else if found.is_some() {
                return Some(then);
            } else {
                at = then;
            }
        }
    }

    /// Returns the due times from `first`, which is one, until `now`: the newest, at most `newest_max`.
    pub fn due(&self, first: Timestamp, now: Timestamp, newest_max: usize) -> DueTimes {
        let newest_max = newest_max.min(COUNTED_MAX);
        let (newest, counted, is_all) = self.count_from(first, now, newest_max);
        if is_all {
            let newest = Vec::from(newest);
            return DueTimes { older: (counted - newest.len()) as u64, newest };
        }
        // Too many to count, so only the end is searched. Bisection finds a start between one with too many
        // due times and one with too few; moments are whole seconds, so it ends.
        let (mut too_many, mut too_few) = (first, now);
        loop {
            let middle = too_many + (too_few - too_many) / 2;
            let (newest, counted, is_all) = match self.next_after(middle) {
                Some(from) => self.count_from(from, now, newest_max),
                None => (VecDeque::new(), 0, true),
            };
            if !is_all {
                too_many = middle;
            } else if counted < newest_max {
                too_few = middle;
            } else {
                return DueTimes { newest: newest.into(), older: COUNTED_MAX as u64 };
            }
        }
    }

    /// Steps through due times; returns the newest, their number, and whether the interval is exhausted.
    fn count_from(
        &self,
        first: Timestamp,
        now: Timestamp,
        newest_max: usize,
    ) -> (VecDeque<Timestamp>, usize, bool) {
        let (mut newest, mut counted) = (VecDeque::new(), 0);
        let mut next = Some(first);
        while let Some(due) = next.filter(|due| *due <= now) {
            if counted == COUNTED_MAX {
                return (newest, counted, false);
            }
            counted += 1;
            if newest.len() == newest_max {
                newest.pop_front();
            }
            newest.push_back(due);
            next = self.next_after(due);
        }
        (newest, counted, true)
    }

    /// Returns a moment as local time in RFC 3339.
    pub fn local(&self, moment: Timestamp) -> String {
        moment.with_timezone(&self.0.zone).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }
}

impl PartialEq for Timing {
    fn eq(&self, other: &Self) -> bool {
        (self.expression(), self.zone()) == (other.expression(), other.zone())
    }
}

/// Returns the first and the last moment with this local time; for a skipped local time, the end of the gap
/// twice.
fn moments(zone: &Tz, local: NaiveDateTime) -> Option<[Timestamp; 2]> {
    let utc = |moment: DateTime<Tz>| moment.with_timezone(&Utc);
    match zone.from_local_datetime(&local) {
        LocalResult::Single(moment) => Some([utc(moment); 2]),
        LocalResult::Ambiguous(first, again) => Some([utc(first), utc(again)]),
        LocalResult::None => {
            // Between these, clocks jump from before it to after it. No gap exceeds a day.
            let (mut before, mut after) =
                (local.and_utc().timestamp() - 172_800, local.and_utc().timestamp() + 172_800);
            while after - before > 1 {
                let between = before + (after - before) / 2;
                let shown = zone.timestamp_opt(between, 0).single()?.naive_local();
                if shown < local { before = between } else { after = between }
            }
            Some([DateTime::from_timestamp(after, 0)?; 2])
        }
    }
}

fn offset(zone: &Tz, moment: Timestamp) -> i32 {
    zone.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc()
}

/// Returns the moment in (`before`, `after`] at which the offset changes.
fn change_within(zone: &Tz, mut before: Timestamp, mut after: Timestamp) -> Timestamp {
    let old = offset(zone, before);
    while after - before > TimeDelta::seconds(1) {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if offset(zone, middle) == old { before = middle } else { after = middle }
    }
    after
}

#[cfg(test)]
mod tests;
