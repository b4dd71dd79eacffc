//! The end of a log, and which of its lines are shown.

use wasmill_ui::record::LogLine;
use wasmill_ui::task::{FIND_CHARS_MAX, LogFilter, LogTail, STREAMS};

use crate::http::params::whole_number;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::field_errors::{FieldError, FieldErrors};
use crate::ui::page::{View, spec as page_spec};
use crate::ui::rest::Rest;

/// Lines that a page starts with.
const LINES: usize = 1_000;
/// Lines that one request reads.
const READ_LINES: usize = 10_000;

pub(crate) fn spec() -> Operation {
    page_spec("/ui/task/{id}").parameter("stream").parameter("attempt").parameter("find")
}

/// Reads which lines are wanted.
pub(super) fn filter(view: &View) -> Result<LogFilter, Problem> {
    let (mut filter, mut errors) = (LogFilter::default(), FieldErrors::default());
    if let Some(name) = view.param("stream") {
        filter.stream = STREAMS.into_iter().find(|stream| *stream == name);
        if filter.stream.is_none() {
            errors.push(FieldError::parameter("stream", format!("stream must be {}", STREAMS.join(" or "))));
        }
    }
    if let Some(attempt) = view.param("attempt") {
        filter.attempt = whole_number(attempt).and_then(|attempt| u32::try_from(attempt).ok());
        if filter.attempt.is_none() {
            errors.push(FieldError::parameter("attempt", "attempt must be the number of an attempt"));
        }
    }
    if let Some(find) = view.param("find") {
        if find.chars().count() > FIND_CHARS_MAX {
            let detail = format!("find must have at most {FIND_CHARS_MAX} characters");
            errors.push(FieldError::parameter("find", detail));
        }
        find.clone_into(&mut filter.find);
    }
    Problem::reject_errors(errors, filter)
}

/// Gets the newest lines. The interface reads from the beginning; the limit of the log bounds that.
pub(super) async fn tail(rest: &Rest, path: &str, filter: LogFilter) -> Result<LogTail, Problem> {
    let mut tail = LogTail { filter, ..LogTail::default() };
    loop {
        let path = format!("{path}/logs?after={}&limit={READ_LINES}", tail.last);
        let mut more: Vec<LogLine> = rest.get(&path).await?;
        let is_last = more.len() < READ_LINES;
        tail.stored += more.len() as u64;
        tail.last = more.last().map_or(tail.last, |line| line.seq);
        tail.filter.apply(&mut more);
        tail.found += more.len() as u64;
        tail.lines.extend(more);
        tail.lines.drain(..tail.lines.len().saturating_sub(LINES));
        if is_last {
            return Ok(tail);
        }
    }
}
