//! Finds the next local time that an expression matches, in a bounded number of steps.
//!
//! Knows no time zones.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use croner::{Cron, Weekday};

/// The search ends after this year.
const YEAR_MAX: i32 = 2199;

/// Maximum steps of a search: each checks a day or skips a month. Any day that matches at all recurs within
/// 40 years: the calendar repeats after 28, or 40 across 2100, which is no leap year.
pub(super) const STEPS_MAX: u32 = 41 * (12 + 366);

/// The remaining steps of a search.
pub(super) struct Steps(u32);

impl Steps {
    pub(super) fn new() -> Self {
        Self(STEPS_MAX)
    }

    /// Uses a step; `None` if none is left.
    pub(super) fn take(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u32 {
        STEPS_MAX - self.0
    }
}

/// The times of day that an expression matches: a bit per hour, minute and second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    hours: u64,
    minutes: u64,
    seconds: u64,
}

impl Times {
    pub(super) fn of(cron: &Cron) -> Self {
        let bits = |values: Vec<u16>| values.into_iter().fold(0, |bits, value| bits | 1 << value);
        let pattern = &cron.pattern;
        Self {
            hours: bits(pattern.hours.values()),
            minutes: bits(pattern.minutes.values()),
            seconds: bits(pattern.seconds.values()),
        }
    }

    /// Returns true if some time of every hour matches.
    pub(super) fn is_every_hour(self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// Returns the first matching time of day at or after this one.
    pub(super) fn from(self, time: NaiveTime) -> Option<NaiveTime> {
        let hour = next(self.hours, time.hour())?;
        let rest = if hour == time.hour() { (time.minute(), time.second()) } else { (0, 0) };
        let (hour, (minute, second)) = match self.in_hour_from(rest.0, rest.1) {
            Some(rest) => (hour, rest),
            None => (next(self.hours, hour + 1)?, self.in_hour_from(0, 0)?),
        };
        NaiveTime::from_hms_opt(hour, minute, second)
    }

    /// Returns the first matching minute and second of an hour at or after these.
    pub(super) fn in_hour_from(self, minute: u32, second: u32) -> Option<(u32, u32)> {
        let found = next(self.minutes, minute)?;
        let from = if found == minute { second } else { 0 };
        match next(self.seconds, from) {
            Some(second) => Some((found, second)),
            None => Some((next(self.minutes, found + 1)?, next(self.seconds, 0)?)),
        }
    }
}

/// Returns the lowest bit at or after this one.
fn next(bits: u64, from: u32) -> Option<u32> {
    let rest = bits.checked_shr(from).unwrap_or(0);
    (rest != 0).then(|| from + rest.trailing_zeros())
}

/// Returns true if the expression matches this day.
pub(super) fn is_day(cron: &Cron, day: NaiveDate) -> bool {
    let weekday = Weekday::from_days_from_sunday(day.weekday().num_days_from_sunday());
    let pattern = &cron.pattern;
    day.year() <= YEAR_MAX
        && pattern.month_match(day.month()).unwrap_or(false)
        && pattern.day_match(day.year(), day.month(), day.day(), weekday).unwrap_or(false)
}

/// Returns the first matching day at or after this one.
pub(super) fn next_day(cron: &Cron, mut day: NaiveDate, steps: &mut Steps) -> Option<NaiveDate> {
    while day.year() <= YEAR_MAX {
        steps.take()?;
        if is_day(cron, day) {
            return Some(day);
        }
        day = if cron.pattern.month_match(day.month()).unwrap_or(false) {
            day.succ_opt()?
        } else {
            let (year, month) = (day.year() + i32::from(day.month() == 12), day.month() % 12 + 1);
            NaiveDate::from_ymd_opt(year, month, 1)?
        };
    }
    None
}

/// Returns the first matching local time at or after this one.
pub(super) fn next_local(
    cron: &Cron,
    times: Times,
    from: NaiveDateTime,
    steps: &mut Steps,
) -> Option<NaiveDateTime> {
    steps.take()?;
    let today = from.date();
    if let Some(time) = times.from(from.time()).filter(|_| is_day(cron, today)) {
        return Some(today.and_time(time));
    }
    let day = next_day(cron, today.succ_opt()?, steps)?;
    Some(day.and_time(times.from(NaiveTime::MIN)?))
}
