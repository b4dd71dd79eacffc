//! What a live log keeps, cuts and forgets.

use super::*;

fn at(seconds: i64) -> Timestamp {
    chrono::DateTime::from_timestamp(seconds, 0).expect("in range")
}

fn log_within(bytes_max: usize, budget: &Arc<LogBudget>) -> RunLog {
    let log = RunLog::new(0, 1, Arc::clone(budget));
    log.keep(bytes_max);
    log
}

fn log(bytes_max: usize) -> RunLog {
    log_within(bytes_max, &Arc::new(LogBudget::new(1 << 20)))
}

fn out(log: &RunLog, written: &str) {
    log.write(LogStream::Stdout, written.as_bytes(), at(1));
}

fn read(log: &RunLog) -> Vec<(u64, String)> {
    log.read(0, 10_000, usize::MAX).into_iter().map(|line| (line.seq, line.text)).collect()
}

fn text(log: &RunLog) -> String {
    log.part().and_then(|part| part.text()).unwrap_or_default()
}

#[test]
fn lines_have_number_time_stream_and_attempt() {
    let log = RunLog::new(0, 3, Arc::new(LogBudget::new(1 << 20)));
    log.keep(1 << 10);
    log.write(LogStream::Stdout, b"one\ntw", at(1));
    log.write(LogStream::Stderr, b"oops\n", at(2));
    log.write(LogStream::Stdout, b"o\n\n", at(3));
    let line = |seq, seconds, stream, text: &str| LogLine {
        seq,
        time: at(seconds),
        attempt: 3,
        stream,
        text: text.to_owned(),
        is_cut: false,
    };
    let (out, err) = (LogStream::Stdout, LogStream::Stderr);
    let all = [line(1, 1, out, "one"), line(2, 2, err, "oops"), line(3, 3, out, "two"), line(4, 3, out, "")];
    assert_eq!(log.read(0, 10, 1 << 10), all);
    assert_eq!(log.read(1, 2, 1 << 10), all[1..3]);
    assert_eq!(log.read(4, 2, 1 << 10), []);
    assert_eq!(text(&log), "one\noops\ntwo\n\n");
}

#[test]
fn an_unfinished_line_is_visible_when_the_run_ends() {
    let log = log(1 << 10);
    out(&log, "waiting...");
    assert_eq!(read(&log), []);
    assert_eq!(text(&log), "waiting...");
    assert_eq!(log.part(), log.part(), "taking it changes nothing");
}

#[test]
fn the_oldest_lines_are_dropped_with_their_numbers() {
    let log = log(3 * (HEAD_BYTES + 6));
    for n in 0..10 {
        out(&log, &format!("line {n}\n"));
    }
    assert_eq!(read(&log), [(8, "line 7".to_owned()), (9, "line 8".to_owned()), (10, "line 9".to_owned())]);
    assert_eq!(text(&log), "[49 earlier bytes dropped]\nline 7\nline 8\nline 9\n");
}

#[test]
fn output_never_exceeds_the_limit() {
    let budget = Arc::new(LogBudget::new(1 << 20));
    let log = log_within(1 << 10, &budget);
    for line in ["", "x", "a line of some length"] {
        for _ in 0..5_000 {
            out(&log, &format!("{line}\n"));
            assert!(log.lines().held() <= 1 << 10);
        }
    }
    assert_eq!(budget.held.load(Ordering::Relaxed), log.lines().held());
    drop(log);
    assert_eq!(budget.held.load(Ordering::Relaxed), 0);
}

#[test]
fn an_endless_line_is_cut_between_characters_and_marked() {
    let log = log(1 << 20);
    let endless = "ä€😀".repeat(5_000);
    for piece in endless.as_bytes().chunks(1_000) {
        log.write(LogStream::Stderr, piece, at(1));
    }
    log.write(LogStream::Stderr, b"\n", at(1));
    let lines = log.read(0, 100, usize::MAX);
    assert!(lines.iter().all(|line| line.text.len() <= LINE_BYTES_MAX));
    assert!(lines.iter().rev().skip(1).all(|line| line.is_cut) && !lines[lines.len() - 1].is_cut);
    let joined: String = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(joined, endless);
    assert_eq!(text(&log), format!("{endless}\n"));
}

#[test]
fn invalid_utf8_is_replaced_within_the_limit() {
    let log = log(100);
    log.write(LogStream::Stdout, &[b'a', 0xff, b'b', b'\n'], at(1));
    assert_eq!(read(&log), [(1, "a\u{fffd}b".to_owned())]);
    log.write(LogStream::Stdout, &[0xff; 1_000], at(1));
    log.write(LogStream::Stdout, b"\n", at(1));
    assert!(log.lines().held() <= 100 && !read(&log).is_empty());
}

#[test]
fn a_tiny_limit_keeps_what_fits() {
    for bytes_max in [0, 1, HEAD_BYTES, HEAD_BYTES + 1, HEAD_BYTES + 2] {
        let log = log(bytes_max);
        log.write(LogStream::Stdout, "€uro\n€uro\n".as_bytes(), at(1));
        assert!(log.lines().kept.size() <= bytes_max);
        assert!(text(&log).contains("earlier bytes dropped"), "{bytes_max}: {}", text(&log));
    }
}

#[test]
fn beyond_the_budget_each_run_keeps_a_little() {
    let budget = Arc::new(LogBudget::new(10 << 10));
    let logs: Vec<_> = (0..100).map(|_| log_within(64 << 10, &budget)).collect();
    for _ in 0..200 {
        for log in &logs {
            out(log, &format!("{}\n", "x".repeat(300)));
        }
    }
    let held = budget.held.load(Ordering::Relaxed);
    assert!(held <= 100 * SCARCE_BYTES, "{held}");
    assert!(logs.iter().all(|log| !read(log).is_empty()));
    drop(logs);
    assert_eq!(budget.held.load(Ordering::Relaxed), 0);
}

#[test]
fn a_log_is_restored_at_another_host() {
    let budget = Arc::new(LogBudget::new(1 << 20));
    let log = RunLog::new(7, 2, Arc::clone(&budget));
    let copy = RunLog::new(0, 2, Arc::clone(&budget));
    log.keep(80);
    assert_eq!((log.writes(), copy.restore(&log.snapshot())), (0, Ok(())));
    assert_eq!((copy.part(), copy.silent_part()), (None, log.silent_part()));
    for n in 0..20 {
        out(&log, &format!("line {n}\n"));
    }
    log.write(LogStream::Stderr, b"oo", at(2));
    out(&log, "wai");
    assert_eq!(log.writes(), 22);
    copy.restore(&log.snapshot()).expect("whole");
    assert_eq!((read(&copy), text(&copy)), (read(&log), text(&log)));
    assert_eq!(read(&copy).last(), Some(&(27, "line 19".to_owned())));
    assert_eq!(copy.part(), log.part());
    out(&log, "ting\n");
    copy.restore(&log.snapshot()).expect("whole");
    assert_eq!(read(&copy).last(), Some(&(28, "waiting".to_owned())));
    for damaged in [&b""[..], b"12345678", b"12345678Nxx"] {
        assert_eq!(copy.restore(damaged), Err(Damaged));
    }
    assert_eq!(read(&copy), read(&log), "a damaged body changes nothing");
    drop((log, copy));
    assert_eq!(budget.held.load(Ordering::Relaxed), 0);
}
