//! When a schedule is due: a cron expression in a time zone. Pure arithmetic; nobody here asks what time it is.
//!
//! The expression is read by `croner`, the rules of time zones come from `chrono-tz`. Where clocks change, an
//! expression that means every hour runs on by the hours that really pass. Of any other each local time is meant
//! once: one that is left out in spring is due at the end of the gap, and of one that comes twice in autumn
//! the first counts.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::Timestamp;

/// Bytes of the longest expression.
pub const TIMING_BYTES_MAX: usize = 256;

/// No run is looked for beyond these years, so that a search ends.
const YEARS: &str = "1970-2199";

/// From when on an expression is due at least once, or it makes no sense: 2000-01-01. The calendar repeats
/// itself after 28 years, or 40 over 2100.
const SOME_DAY: i64 = 946_684_800;

/// The most moments that are counted one by one.
const COUNTED_MAX: usize = 20_000;

/// A cron expression in a time zone. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Timing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    cron: Cron,
    zone: Tz,
    /// Whether it runs in every hour, so that it goes on through changes of the clocks.
    every_hour: bool,
}

/// The moments at which a schedule was due in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The newest of them, the oldest first.
    pub newest: Vec<Timestamp>,
    /// How many there were before these; counted no further than some 20,000.
    pub older: u64,
}

impl Timing {
    /// Reads an expression of five fields, of six with seconds in front, or a word such as `@hourly`; and the
    /// IANA name of a time zone.
    ///
    /// # Errors
    ///
    /// Says which of the two is wrong, and how. An expression that is never due is wrong, too.
    pub fn of(expression: &str, zone: &str) -> Result<Self, InvalidTiming> {
        let zone = zone.parse().map_err(|_| InvalidTiming::Zone)?;
        let text = expression.trim();
        let cron = read(text)?;
        let every_hour = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
        let timing = Self(Arc::new(Inner { text: text.to_owned(), cron, zone, every_hour }));
        let some_day = DateTime::from_timestamp_nanos(SOME_DAY * 1_000_000_000);
        timing.next_after(some_day).ok_or(InvalidTiming::Never)?;
        Ok(timing)
    }

    /// Returns the expression as it was written.
    pub fn expression(&self) -> &str {
        &self.0.text
    }

    /// Returns the name of the time zone.
    pub fn zone(&self) -> &'static str {
        self.0.zone.name()
    }

    /// Returns the first moment after this one at which it is due; `None` if that is centuries away.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let Inner { cron, zone, every_hour, .. } = &*self.0;
        // Due moments are whole seconds, so those within one are after the same ones.
        let moment = moment.with_nanosecond(0)?;
        let local = moment.with_timezone(zone);
        if *every_hour {
            return Some(cron.find_next_occurrence(&local, false).ok()?.with_timezone(&Utc));
        }
        // Local times in their order are moments in their order, but for those that share a moment.
        let mut next = local.naive_local();
        loop {
            next = cron.find_next_occurrence(&next, false).ok()?;
            let due = first_moment(zone, next)?;
            if due > moment {
                return Some(due);
            }
        }
    }

    /// Returns the moments from `first`, at which it is due, until `now`: the newest, at most `newest_max`.
    pub fn due(&self, first: Timestamp, now: Timestamp, newest_max: usize) -> Due {
        let (newest, counted, is_all) = self.walk(first, now, newest_max, COUNTED_MAX);
        if is_all {
            let newest = Vec::from(newest);
            return Due { older: (counted - newest.len()) as u64, newest };
        }
        // There are so many that only the end is looked at, in ever larger parts until it holds enough.
        let mut span = TimeDelta::minutes(1);
        loop {
            let from = self.next_after(now - span).unwrap_or(first).max(first);
            let (newest, _, _) = self.walk(from, now, newest_max, usize::MAX);
            if newest.len() >= newest_max || from == first {
                return Due { newest: newest.into(), older: counted as u64 };
            }
            span = span * 2;
        }
    }

    /// Goes from one moment to the next; returns the newest, how many there were, and whether these are all.
    fn walk(
        &self,
        first: Timestamp,
        now: Timestamp,
        newest_max: usize,
        most: usize,
    ) -> (VecDeque<Timestamp>, usize, bool) {
        let (mut newest, mut counted) = (VecDeque::new(), 0);
        let mut next = Some(first);
        while let Some(due) = next.filter(|due| *due <= now) {
            if counted == most {
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

    /// Returns a moment as clocks of the time zone show it, in RFC 3339.
    pub fn local(&self, moment: Timestamp) -> String {
        moment.with_timezone(&self.0.zone).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }
}

impl PartialEq for Timing {
    fn eq(&self, other: &Self) -> bool {
        (self.expression(), self.zone()) == (other.expression(), other.zone())
    }
}

fn read(text: &str) -> Result<Cron, InvalidTiming> {
    let wrong = |why: &str| InvalidTiming::Expression { why: why.to_owned() };
    if text.len() > TIMING_BYTES_MAX || !text.is_ascii() {
        return Err(wrong("it is plain text of at most 256 bytes"));
    }
    if text.contains('@') {
        let known = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];
        if !known.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Err(wrong("@yearly, @monthly, @weekly, @daily and @hourly are the words that are known"));
        }
        return CronParser::new().parse(text).map_err(|error| wrong(&error.to_string()));
    }
    let seconds = match text.split_ascii_whitespace().count() {
        5 => "0 ",
        6 => "",
        _ => return Err(wrong("it has five fields, or six with seconds in front")),
    };
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).build();
    parser.parse(&format!("{seconds}{text} {YEARS}")).map_err(|error| wrong(&error.to_string()))
}

/// Returns the first moment at which clocks show this time, or that at which they leap over it.
fn first_moment(zone: &Tz, local: NaiveDateTime) -> Option<Timestamp> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => Some(moment.with_timezone(&Utc)),
        LocalResult::None => {
            // Somewhere between these clocks leap from before it to after it. No gap is longer than a day.
            let (mut before, mut after) =
                (local.and_utc().timestamp() - 172_800, local.and_utc().timestamp() + 172_800);
            while after - before > 1 {
                let between = before + (after - before) / 2;
                let shown = zone.timestamp_opt(between, 0).single()?.naive_local();
                if shown < local { before = between } else { after = between }
            }
            DateTime::from_timestamp(after, 0)
        }
    }
}

/// The texts say no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// The expression cannot be read.
    #[error("it is no cron expression such as \"*/5 * * * *\": {why}")]
    Expression {
        /// What is wrong with it.
        why: String,
    },
    /// The expression means no moment at all.
    #[error("it is never due: there is no such day")]
    Never,
    /// There is no such time zone.
    #[error("it is no time zone of the IANA database such as \"Europe/Berlin\"")]
    Zone,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// Returns what local clocks show at the next runs after this moment.
    fn next(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let timing = Timing::of(expression, zone).expect(expression);
        let mut moment = at(after);
        let next = || {
            moment = timing.next_after(moment).expect("there is always another");
            timing.local(moment)
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn expressions_of_five_and_six_fields_and_words_are_read() {
        let utc = |expression| next(expression, "UTC", "2026-11-23T07:26:49.5Z", 2);
        assert_eq!(utc("*/5 * * * *"), ["2026-11-23T07:30:00Z", "2026-11-23T07:35:00Z"]);
        assert_eq!(utc("*/20 * * * * *"), ["2026-11-23T07:27:00Z", "2026-11-23T07:27:20Z"]);
        assert_eq!(utc("0 9 * * mon-fri"), ["2026-11-23T09:00:00Z", "2026-11-24T09:00:00Z"]);
        assert_eq!(utc("0 0 L * *"), ["2026-11-30T00:00:00Z", "2026-12-31T00:00:00Z"]);
        assert_eq!(utc(" @hourly "), ["2026-11-23T08:00:00Z", "2026-11-23T09:00:00Z"]);
        assert_eq!(utc("@yearly"), ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]);
        let leap = next("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1);
        assert_eq!(leap, ["2104-02-29T00:00:00Z"]);
    }

    #[test]
    fn what_is_no_expression_or_never_due_is_refused() {
        for bad in [
            "",
            "* * * *",
            "* * * * * * 2027",
            "61 * * * *",
            "@noon",
            "a b c d e",
            "0 0 @daily * *",
            "ß * * * *",
        ] {
            assert!(matches!(Timing::of(bad, "UTC"), Err(InvalidTiming::Expression { .. })), "{bad}");
        }
        assert!(Timing::of(&"1,".repeat(200), "UTC").is_err());
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 +MON"] {
            assert_eq!(Timing::of(never, "UTC"), Err(InvalidTiming::Never), "{never}");
        }
        assert_eq!(Timing::of("* * * * *", "Mars/Olympus"), Err(InvalidTiming::Zone));
    }

    #[test]
    fn nothing_that_is_sent_makes_it_panic() {
        let pieces = [
            "*",
            "/",
            "-",
            ",",
            "0",
            "7",
            "59",
            "60",
            "99999999999",
            "L",
            "W",
            "#",
            "?",
            "+",
            "MON",
            "JAN",
            " ",
            "@",
            "5L",
        ];
        let mut seed = 0x9e37_79b9_u64;
        for _ in 0..3_000 {
            let mut text = String::new();
            for _ in 0..12 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                text.push_str(pieces[(seed % pieces.len() as u64) as usize]);
                text.push_str(if seed & 0x300 == 0 { "" } else { " " });
            }
            let some: Vec<_> = text.split_ascii_whitespace().take(5).collect();
            let _ = Timing::of(&some.join(" "), "Europe/Berlin");
        }
    }

    #[test]
    fn a_time_that_is_left_out_in_spring_is_due_once_at_the_end_of_the_gap() {
        // Berlin goes from 02:00 to 03:00 on 29 March 2026, New York on 8 March.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
            ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
        );
        assert_eq!(
            next("0,20,40 2,3 * * *", "America/New_York", "2026-03-08T05:00:00Z", 4),
            [
                "2026-03-08T03:00:00-04:00",
                "2026-03-08T03:20:00-04:00",
                "2026-03-08T03:40:00-04:00",
                "2026-03-09T02:00:00-04:00"
            ]
        );
        // Samoa left out a whole day.
        assert_eq!(
            next("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
            ["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_in_autumn_is_due_once() {
        // Berlin goes from 03:00 back to 02:00 on 25 October 2026, New York from 02:00 on 1 November.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
        );
        assert_eq!(
            next("0,30 1,2 * * *", "America/New_York", "2026-11-01T04:30:00Z", 5),
            [
                "2026-11-01T01:00:00-04:00",
                "2026-11-01T01:30:00-04:00",
                "2026-11-01T02:00:00-05:00",
                "2026-11-01T02:30:00-05:00",
                "2026-11-02T01:00:00-05:00"
            ]
        );
        // Asked in the second of the two hours, what was due in the first is over.
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["2026-10-26T02:30:00+01:00"]
        );
    }

    #[test]
    fn what_runs_every_hour_runs_on_through_both_changes() {
        for expression in ["*/30 * * * *", "0 */30 * * * *", "0,30 0-23 * * *"] {
            assert_eq!(
                next(expression, "Europe/Berlin", "2026-10-25T00:00:00Z", 4),
                [
                    "2026-10-25T02:30:00+02:00",
                    "2026-10-25T02:00:00+01:00",
                    "2026-10-25T02:30:00+01:00",
                    "2026-10-25T03:00:00+01:00"
                ]
            );
        }
        assert_eq!(
            next("@hourly", "America/New_York", "2026-03-08T05:00:00Z", 3),
            ["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"]
        );
    }

    #[test]
    fn moments_only_ever_go_forward() {
        for (zone, day) in
            [("Europe/Berlin", "2026-10-24T22:00:00Z"), ("America/New_York", "2026-03-08T04:00:00Z")]
        {
            for expression in ["* * * * *", "*/7 1-3 * * *", "15 */2 * * *", "59 59 2 * * *", "@daily"] {
                let timing = Timing::of(expression, zone).expect(expression);
                let mut second = at(day);
                for _ in 0..8 * 360 {
                    let due = timing.next_after(second).expect("due");
                    assert!(due > second, "{expression} at {second}");
                    let again = timing.next_after(second + TimeDelta::seconds(10)).expect("due");
                    assert!(again >= due, "{expression} at {second}");
                    second += TimeDelta::seconds(10);
                }
            }
        }
    }

    #[test]
    fn what_was_due_is_counted_and_the_newest_are_named() {
        let timing = Timing::of("*/10 * * * * *", "UTC").expect("valid");
        let (first, now) = (at("2026-01-01T00:00:10Z"), at("2026-01-01T00:01:05Z"));
        let due = timing.due(first, now, 3);
        assert_eq!(
            due.newest,
            ["2026-01-01T00:00:40Z", "2026-01-01T00:00:50Z", "2026-01-01T00:01:00Z"].map(at)
        );
        assert_eq!(due.older, 3);
        assert_eq!(timing.due(now + TimeDelta::seconds(5), now, 3), Due::default());
        // After a year away: three million.
        let now = at("2027-01-01T00:00:05Z");
        let due = timing.due(first, now, 1_000);
        assert_eq!((due.newest.len(), due.newest[999]), (1_000, at("2027-01-01T00:00:00Z")));
        assert_eq!(due.newest[0], now - TimeDelta::seconds(9_995));
        assert_eq!(due.older, 20_000);
    }
}
