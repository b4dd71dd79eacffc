//! Parses cron expressions: rejects meaningless ones, field by field, before `croner` parses the text.
//!
//! `croner` ignores an empty list item and accepts `L` and `+` where they mean nothing, so a field could
//! match nothing at all.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use super::invalid::InvalidTiming;

/// Maximum bytes of an expression.
pub const TIMING_BYTES_MAX: usize = 256;

const WORDS: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The allowed values of a field.
struct Field {
    name: &'static str,
    min: u16,
    max: u16,
    /// Names of values, starting with that of `min`.
    names: &'static [&'static str],
}

const DAY_OF_MONTH: &str = "day of the month";
const DAY_OF_WEEK: &str = "day of the week";

const FIELDS: [Field; 6] = [
    Field { name: "second", min: 0, max: 59, names: &[] },
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: DAY_OF_MONTH, min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: &MONTHS },
    Field { name: DAY_OF_WEEK, min: 0, max: 7, names: &WEEKDAYS },
];

/// Parses an expression of five or six fields, or a macro such as `@hourly`.
pub(super) fn read(text: &str) -> Result<Cron, InvalidTiming> {
    let wrong = |why: String| InvalidTiming::Expression { why };
    if text.len() > TIMING_BYTES_MAX || !text.is_ascii() {
        return Err(wrong("it must be ASCII text of at most 256 bytes".to_owned()));
    }
    if text.contains('@') {
        if !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            let known = "known words are @yearly, @monthly, @weekly, @daily and @hourly";
            return Err(wrong(known.to_owned()));
        }
        return CronParser::new().parse(text).map_err(|error| wrong(error.to_string()));
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let (seconds, without) = match fields.len() {
        5 => ("0 ", 1),
        6 => ("", 0),
        _ => return Err(wrong("it must have five fields, or six with seconds in front".to_owned())),
    };
    for (field, text) in FIELDS[without..].iter().zip(fields) {
        field.check(&text.to_ascii_uppercase()).map_err(|why| wrong(field.wrong(text, &why)))?;
    }
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
    parser.parse(&format!("{seconds}{text}")).map_err(|error| wrong(error.to_string()))
}

impl Field {
    fn wrong(&self, text: &str, why: &str) -> String {
        format!("invalid {} '{text}': {why}", self.name)
    }

    fn is_of_days(&self) -> bool {
        [DAY_OF_MONTH, DAY_OF_WEEK].contains(&self.name)
    }

    fn check(&self, text: &str) -> Result<(), String> {
        let text = match text.strip_prefix('+') {
            Some("") if self.name == DAY_OF_WEEK => {
                return Err("'+' must be followed by a day of the week".to_owned());
            }
            Some(rest) if self.name == DAY_OF_WEEK => rest,
            _ => text,
        };
        text.split(',').try_for_each(|part| self.check_part(part))
    }

    fn check_part(&self, part: &str) -> Result<(), String> {
        match part {
            "" => return Err("a part of the list is empty".to_owned()),
            "L" | "LW" if self.name == DAY_OF_MONTH => return Ok(()),
            "L" if self.name == DAY_OF_WEEK => {
                return Err("'L' must follow a day of the week, as in 5L for the last Friday".to_owned());
            }
            _ => {}
        }
        if let Some(day) = part.strip_suffix('W').filter(|_| self.name == DAY_OF_MONTH) {
            return self.value(day).map(|_| ());
        }
        if self.name == DAY_OF_WEEK {
            if let Some((days, nth)) = part.split_once('#') {
                let is_nth = matches!(nth, "1" | "2" | "3" | "4" | "5" | "L");
                return if is_nth {
                    self.check_range(days)
                } else {
                    Err("'#' must be followed by 1 to 5".to_owned())
                };
            }
            if let Some(day) = part.strip_suffix('L') {
                return self.value(day).map(|_| ());
            }
        }
        self.check_range(part)
    }

    /// Checks a value or a range, or `*` or a range with a step.
    fn check_range(&self, text: &str) -> Result<(), String> {
        let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
        if let Some(step) = step {
            if number(step).is_none_or(|step| step == 0) {
                return Err(format!("the step '{step}' must be a number from 1"));
            }
            if !range.contains('-') && range != "*" && !(range == "?" && self.is_of_days()) {
                return Err(format!("a step needs '*' or a range in front, as in */{step}"));
            }
        }
        if range == "*" || (range == "?" && self.is_of_days()) {
            return Ok(());
        }
        let Some((first, last)) = range.split_once('-') else { return self.value(range).map(|_| ()) };
        // Sunday is 0 and 7; at the end of a range it must be 7.
        let last = if last == "SUN" && self.name == DAY_OF_WEEK { "7" } else { last };
        if self.value(first)? > self.value(last)? {
            return Err(format!("the range {range} goes backwards"));
        }
        Ok(())
    }

    fn value(&self, text: &str) -> Result<u16, String> {
        let named = self.names.iter().position(|name| *name == text);
        let named = named.and_then(|at| u16::try_from(at).ok()).map(|at| self.min + at);
        named.or_else(|| number(text)).filter(|value| (self.min..=self.max).contains(value)).ok_or_else(
            || {
                let shown = if text.is_empty() {
                    "a value is missing".to_owned()
                } else {
                    format!("'{text}' is no value")
                };
                let names = match self.names {
                    [first, .., last] => format!(" or a name from {first} to {last}"),
                    _ => String::new(),
                };
                format!("{shown}; it must be a number from {} to {}{names}", self.min, self.max)
            },
        )
    }
}

/// Parses digits only: no sign, no blank.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
