//! Tests of expressions, time zones and the search for the next moment.

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
fn expressions_of_five_and_six_fields_and_macros_are_parsed() {
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
fn an_invalid_or_never_due_expression_is_refused() {
    for bad in
        ["", "* * * *", "* * * * * * 2027", "61 * * * *", "@noon", "a b c d e", "0 0 @daily * *", "ß * * * *"]
    {
        assert!(matches!(Timing::of(bad, "UTC"), Err(InvalidTiming::Expression { .. })), "{bad}");
    }
    assert!(Timing::of(&"1,".repeat(200), "UTC").is_err());
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 +MON"] {
        assert_eq!(Timing::of(never, "UTC"), Err(InvalidTiming::Never), "{never}");
    }
    assert_eq!(Timing::of("* * * * *", "Mars/Olympus"), Err(InvalidTiming::Zone));
}

#[test]
fn no_input_panics() {
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
fn a_skipped_local_time_is_due_once_at_the_end_of_the_gap() {
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
fn a_repeated_local_time_is_due_once() {
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
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), ["2026-10-26T02:30:00+01:00"]);
}

#[test]
fn an_hourly_schedule_runs_through_both_clock_changes() {
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
fn due_times_ascend() {
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
fn due_times_are_counted_and_the_newest_returned() {
    let timing = Timing::of("*/10 * * * * *", "UTC").expect("valid");
    let (first, now) = (at("2026-01-01T00:00:10Z"), at("2026-01-01T00:01:05Z"));
    let due = timing.due(first, now, 3);
    assert_eq!(due.newest, ["2026-01-01T00:00:40Z", "2026-01-01T00:00:50Z", "2026-01-01T00:01:00Z"].map(at));
    assert_eq!(due.older, 3);
    assert_eq!(timing.due(now + TimeDelta::seconds(5), now, 3), DueTimes::default());
    // After a year away: three million.
    let now = at("2027-01-01T00:00:05Z");
    let due = timing.due(first, now, 1_000);
    assert_eq!((due.newest.len(), due.newest[999]), (1_000, at("2027-01-01T00:00:00Z")));
    assert_eq!(due.newest[0], now - TimeDelta::seconds(9_995));
    assert_eq!(due.older, 20_000);
}

#[test]
fn a_field_without_a_meaning_is_refused_with_its_own_reason() {
    for (bad, named) in [
        (", * * * * *", "invalid second ',': a part of the list is empty"),
        (", * * * *", "invalid minute ',': a part of the list is empty"),
        ("0 , * * *", "invalid hour ',': a part of the list is empty"),
        ("1,,5 * * * *", "a part of the list is empty"),
        ("5, * * * *", "a part of the list is empty"),
        ("0 0 , * *", "invalid day of the month ','"),
        ("0 0 1 , *", "invalid month ','"),
        ("0 0 * * ,", "invalid day of the week ','"),
        ("0 0 * * L", "'L' must follow a day of the week"),
        ("0 0 * * +", "'+' must be followed by a day of the week"),
        ("0 0 * * +,", "a part of the list is empty"),
        ("0 0 1 L *", "'L' is no value; it must be a number from 1 to 12 or a name from JAN to DEC"),
        ("L * * * *", "invalid minute 'L'"),
        ("+5 * * * *", "invalid minute '+5'"),
        ("+ * * * *", "invalid minute '+'"),
        ("- * * * *", "a value is missing"),
        ("5- * * * *", "a value is missing"),
        ("*/ * * * *", "the step '' must be a number from 1"),
        ("*/0 * * * *", "the step '0' must be a number from 1"),
        ("*/+5 * * * *", "the step '+5' must be a number from 1"),
        ("5/10 * * * *", "a step needs '*' or a range in front, as in */10"),
        ("/10 * * * *", "a step needs '*' or a range in front, as in */10"),
        ("30-10 * * * *", "the range 30-10 goes backwards"),
        ("0 0 * * FRI-MON", "the range FRI-MON goes backwards"),
        ("60 * * * *", "'60' is no value; it must be a number from 0 to 59"),
        ("JAN * * * *", "invalid minute 'JAN'"),
        ("0 0 * SUN *", "invalid month 'SUN'"),
        ("0 0 * JAN-SUN *", "invalid month 'JAN-SUN'"),
        ("0 0 * * MONDAY", "'MONDAY' is no value; it must be a number from 0 to 7 or a name from SUN to SAT"),
        ("0 0 W * *", "a value is missing"),
        ("0 0 L-3 * *", "'L' is no value"),
        ("0 0 * * 5#6", "'#' must be followed by 1 to 5"),
        ("? * * * *", "'?' is no value"),
        ("*,5 * * * *", "'*' is no value"),
    ] {
        let reason = match Timing::of(bad, "UTC") {
            Err(InvalidTiming::Expression { why }) => why,
            other => panic!("{bad}: {other:?}"),
        };
        assert!(reason.contains(named) || (bad.starts_with("*,") && !reason.is_empty()), "{bad}: {reason}");
    }
    for good in [
        "0 0 LW * *",
        "0 0 15W * *",
        "0 0 ? * ?",
        "0 0 ?/2 * *",
        "0 0 * * 5L",
        "0 0 * * fri#L",
        "0 0 * * mon#1",
        "0 0 * * 1-5#2",
        "0 0 13 * +FRI",
        "0 0 * jan,mar-may,12 sat-sun",
        "*/100 * * * *",
        "0-59/7 0-23 1-31 1-12 0-7",
    ] {
        assert!(Timing::of(good, "UTC").is_ok(), "{good}: {:?}", Timing::of(good, "UTC"));
    }
}

#[test]
fn a_time_zone_is_known_in_any_case() {
    for (written, name) in
        [("utc", "UTC"), ("europe/berlin", "Europe/Berlin"), ("AMERICA/NEW_YORK", "America/New_York")]
    {
        assert_eq!(Timing::of("@daily", written).map(|timing| timing.zone()), Ok(name));
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(most)).expect("it is below")
    }

    /// Makes a field with the values that it means.
    fn field(&mut self, min: u32, max: u32) -> (String, Vec<u32>) {
        let span = max - min + 1;
        let (one, other) = (min + self.below(span), min + self.below(span));
        let (first, last) = (one.min(other), one.max(other));
        match self.below(6) {
            0 => ("*".to_owned(), (min..=max).collect()),
            1 => {
                let step = 1 + self.below(40);
                (format!("*/{step}"), (min..=max).step_by(step as usize).collect())
            }
            2 => (format!("{first}-{last}"), (first..=last).collect()),
            3 => {
                let step = 1 + self.below(5);
                (format!("{first}-{last}/{step}"), (first..=last).step_by(step as usize).collect())
            }
            4 => (format!("{one},{other}"), vec![first, last]),
            _ => (one.to_string(), vec![one]),
        }
    }
}

/// An expression as it is written, and what it means, by other means than those under test.
struct Meant {
    text: String,
    times: [Vec<u32>; 3],
    months: Vec<u32>,
    days: Option<Vec<u32>>,
    is_last_day: bool,
    weekdays: Option<Vec<u32>>,
    /// Which weekday of its kind in the month; 9 for the last.
    nth: Option<u32>,
    is_both: bool,
}

impl Meant {
    fn new(random: &mut Random) -> Self {
        let (second, seconds) = random.field(0, 59);
        let (minute, minutes) = random.field(0, 59);
        let (hour, hours) = random.field(0, 23);
        let (month, months) =
            if random.below(2) == 0 { random.field(1, 12) } else { ("2".to_owned(), vec![2]) };
        let (mut day, mut days) = match random.below(3) {
            0 => ("*".to_owned(), vec![]),
            1 => {
                let day = 28 + random.below(4);
                (day.to_string(), vec![day])
            }
            _ => random.field(1, 31),
        };
        let is_last_day = day != "*" && random.below(4) == 0;
        if is_last_day {
            (day, days) = ("L".to_owned(), vec![]);
        }
        let (mut weekday, mut weekdays) =
            if random.below(2) == 0 { ("*".to_owned(), vec![]) } else { random.field(0, 6) };
        let mut nth = None;
        if weekday.parse::<u32>().is_ok() && random.below(2) == 0 {
            let which = 1 + random.below(6);
            nth = Some(if which == 6 { 9 } else { which });
            weekday = if which == 6 { format!("{weekday}L") } else { format!("{weekday}#{which}") };
        }
        weekdays.dedup();
        let (any_day, any_weekday) = (day == "*", weekday == "*");
        let is_both = random.below(2) == 0;
        if is_both {
            weekday.insert(0, '+');
        }
        Self {
            text: format!("{second} {minute} {hour} {day} {month} {weekday}"),
            times: [hours, minutes, seconds],
            months,
            days: (!any_day).then_some(days),
            is_last_day,
            weekdays: (!any_weekday).then_some(weekdays),
            nth,
            is_both,
        }
    }

    fn is_day(&self, date: chrono::NaiveDate) -> bool {
        use chrono::Datelike;
        let (day, weekday) = (date.day(), date.weekday().num_days_from_sunday());
        let is_in_next_month = |days: i64| (date + TimeDelta::days(days)).month() != date.month();
        let fits_day =
            self.days.as_ref().map(|days| days.contains(&day) || (self.is_last_day && is_in_next_month(1)));
        let fits_weekday = self.weekdays.as_ref().map(|weekdays| {
            let is_nth = match self.nth {
                None => true,
                Some(9) => is_in_next_month(7),
                Some(nth) => (day - 1) / 7 + 1 == nth,
            };
            weekdays.contains(&weekday) && is_nth
        });
        self.months.contains(&date.month())
            && match (fits_day, fits_weekday) {
                (None, None) => true,
                (Some(fits), None) | (None, Some(fits)) => fits,
                (Some(day), Some(weekday)) if self.is_both => day && weekday,
                (Some(day), Some(weekday)) => day || weekday,
            }
    }

    /// Tries every second of the first day that fits after a moment; `None` if none fits within 41 years.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let [hours, minutes, seconds] = &self.times;
        let days = after.date_naive().iter_days().take(41 * 366).filter(|day| self.is_day(*day));
        days.take(2).find_map(|day| {
            let moment =
                |second: u32| NaiveTime::from_num_seconds_from_midnight_opt(second, 0).expect("within a day");
            let fits = |second: &u32| {
                let time = moment(*second);
                hours.contains(&time.hour())
                    && minutes.contains(&time.minute())
                    && seconds.contains(&time.second())
            };
            let mut due = (0..86_400).filter(fits).map(|second| day.and_time(moment(second)).and_utc());
            due.find(|due| *due > after)
        })
    }
}

#[test]
fn any_expression_is_due_when_an_oracle_says_so_and_no_search_takes_more_steps_than_it_may() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut never, mut most) = (0, 0);
    for _ in 0..400 {
        let meant = Meant::new(&mut random);
        let start = at("2000-01-01T00:00:00Z")
            + TimeDelta::seconds(i64::from(random.below(u32::MAX)) % 3_000_000_000);
        let expected = meant.next(start);
        match Timing::of(&meant.text, "UTC") {
            Ok(timing) => {
                let mut steps = Steps::new();
                assert_eq!(timing.search(start, &mut steps), expected, "{} after {start}", meant.text);
                most = most.max(steps.used());
            }
            Err(error) => {
                assert_eq!(error, InvalidTiming::Never, "{}", meant.text);
                assert_eq!(expected, None, "{}", meant.text);
                never += 1;
            }
        }
    }
    assert!(never > 10, "there were only {never} that are never due");
    assert!(most > 500, "the rarest took only {most} steps");
    assert!(most <= search::STEPS_MAX, "{most}");
}

#[test]
fn the_rarest_days_are_found_within_the_steps_that_there_are() {
    // 2100 is no leap year.
    for (rarest, after, due) in [
        ("0 0 29 2 +SUN", "2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"),
        ("0 * 29 2 +MON", "2072-02-29T23:00:00Z", "2112-02-29T00:00:00Z"),
    ] {
        let timing = Timing::of(rarest, "UTC").expect(rarest);
        assert_eq!(timing.next_after(at(after)), Some(at(due)), "{rarest}");
    }
    // Each weekday on 29 February, from each year of two centuries.
    for weekday in 0..7 {
        let timing = Timing::of(&format!("0 * 29 2 +{weekday}"), "UTC").expect("valid");
        for year in 1970..2150 {
            let from = at(&format!("{year}-03-01T00:00:00Z"));
            assert!(timing.next_after(from).is_some(), "{weekday} after {year}");
        }
    }
    assert_eq!(Timing::of("* * * * *", "UTC").expect("valid").next_after(at("2200-01-01T00:00:00Z")), None);
}

#[test]
fn what_runs_every_hour_is_due_whenever_clocks_show_such_a_time() {
    // Lord Howe Island changes its clocks by half an hour, Havana and Beirut at midnight.
    let zones = ["Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Beirut", "America/St_Johns"];
    for zone in zones {
        let tz: Tz = zone.parse().expect("a zone");
        for expression in ["0 7,45 * * * *", "0 */20 * 1-20 * +SUN", "30 59 * * * *"] {
            let timing = Timing::of(expression, zone).expect(expression);
            let cron = &timing.0.cron;
            for (begin, end) in [
                ("2026-03-01T00:00:00Z", "2026-04-15T00:00:00Z"),
                ("2026-10-01T00:00:00Z", "2026-11-10T00:00:00Z"),
            ] {
                let (mut moment, end) = (at(begin), at(end));
                let mut next = timing.next_after(moment).expect("due");
                while moment < end {
                    moment += TimeDelta::seconds(15);
                    let local = moment.with_timezone(&tz).naive_local();
                    if moment == next {
                        next = timing.next_after(moment).expect("due");
                        assert!(cron.is_time_matching(&local).expect("valid"), "{expression} {zone} {local}");
                    } else {
                        assert!(
                            !cron.is_time_matching(&local).expect("valid"),
                            "{expression} {zone} {local}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn due_times_dense_in_one_month_are_counted_in_bounded_work() {
    // Every second of January: 2,678,400 moments a year, and none near the end.
    let timing = Timing::of("* * 0-22 * 1 *", "UTC").expect("valid");
    let due = timing.due(at("2020-01-01T00:00:00Z"), at("2026-12-01T00:00:00Z"), 1_000);
    assert_eq!(due.newest.len(), 1_000);
    assert_eq!(due.newest.last(), Some(&at("2026-01-31T22:59:59Z")));
    assert_eq!(due.older, 20_000);
}
