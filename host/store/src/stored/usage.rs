//! Stored form of a usage: `[cpu ms, wall ms, queue ms, instantiate µs, memory, log, HTTP requests, bytes
//! sent, bytes received, checkpoints, bytes written to folders, files made, exit code, TCP connections, bytes sent, bytes received]`, without trailing zeros.
//!
//! Text of 15 to 30 bytes that SQL can read: `usage ->> 0` is the CPU time.

use std::fmt::Write;
use std::time::Duration;

use wasmill_model::Usage;

/// Returns a duration in stored form.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

const FIGURES: usize = 16;

/// Returns a usage in stored form.
pub fn text(usage: &Usage) -> String {
    let figures: [u64; FIGURES] = [
        millis(usage.cpu).cast_unsigned(),
        millis(usage.wall).cast_unsigned(),
        millis(usage.queue).cast_unsigned(),
        u64::try_from(usage.instantiate.as_micros()).unwrap_or(u64::MAX),
        usage.memory_bytes,
        usage.log_bytes,
        usage.http_requests,
        usage.http_sent_bytes,
        usage.http_received_bytes,
        usage.checkpoints,
        usage.disk_written_bytes,
        usage.files_created,
        u64::from(usage.exit_code.cast_unsigned()),
        usage.tcp_connections,
        usage.tcp_sent_bytes,
        usage.tcp_received_bytes,
    ];
    let kept = figures.iter().rposition(|figure| *figure > 0).map_or(0, |last| last + 1);
    let mut text = String::with_capacity(32);
    text.push('[');
    for (place, figure) in figures[..kept].iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(text, "{comma}{figure}").expect("a string takes everything");
    }
    text.push(']');
    text
}

/// Reads a usage from its stored form; `None` if it is none.
pub fn parse(text: &str) -> Option<Usage> {
    let text = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut figures = [0; FIGURES];
    if !text.is_empty() {
        // Further values, of a newer version, are ignored.
        for (place, figure) in text.split(',').enumerate() {
            let figure = figure.parse().ok()?;
            if let Some(known) = figures.get_mut(place) {
                *known = figure;
            }
        }
    }
    let [cpu, wall, queue, instantiate, memory_bytes, log_bytes, http_requests, sent, received, rest @ ..] =
        figures;
    let [checkpoints, disk_written_bytes, files_created, exit_code, tcp @ ..] = rest;
    let [tcp_connections, tcp_sent_bytes, tcp_received_bytes] = tcp;
    Some(Usage {
        cpu: Duration::from_millis(cpu),
        wall: Duration::from_millis(wall),
        queue: Duration::from_millis(queue),
        instantiate: Duration::from_micros(instantiate),
        memory_bytes,
        log_bytes,
        http_requests,
        http_sent_bytes: sent,
        http_received_bytes: received,
        checkpoints,
        disk_written_bytes,
        files_created,
        exit_code: u32::try_from(exit_code).ok()?.cast_signed(),
        tcp_connections,
        tcp_sent_bytes,
        tcp_received_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_round_trips() {
        let small =
            Usage { instantiate: Duration::from_micros(38), memory_bytes: 65_536, ..Usage::default() };
        let full = Usage {
            cpu: Duration::from_millis(1),
            wall: Duration::from_millis(2),
            queue: Duration::from_millis(3),
            instantiate: Duration::from_micros(4),
            memory_bytes: 5,
            log_bytes: 6,
            http_requests: 7,
            http_sent_bytes: 8,
            http_received_bytes: 9,
            checkpoints: 10,
            disk_written_bytes: u64::MAX,
            files_created: 12,
            exit_code: -1,
            tcp_connections: 14,
            tcp_sent_bytes: 15,
            tcp_received_bytes: 16,
        };
        for (usage, column) in [
            (Usage::default(), "[]"),
            (small, "[0,0,0,38,65536]"),
            (full, "[1,2,3,4,5,6,7,8,9,10,18446744073709551615,12,4294967295,14,15,16]"),
        ] {
            assert_eq!(text(&usage), column);
            assert_eq!(parse(column), Some(usage));
        }
    }

    #[test]
    fn an_invalid_usage_is_refused_and_newer_fields_are_ignored() {
        for bad in ["", "[", "[1,]", "[-1]", "[x]", "1,2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse("[0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,99]").map(|usage| usage.checkpoints), Some(1));
    }
}
