//! Stored form of the answer to a submit: 32 bytes for each task.

use std::time::Duration;

use chrono::DateTime;
use wasmill_model::TaskId;

use crate::SubmittedTask;

/// Bytes of one task in an answer: its id, its creation time, and -1 or the seconds its holder had run.
const ENTRY_BYTES: usize = 32;

/// Returns an answer in stored form.
pub fn write(tasks: &[SubmittedTask]) -> Vec<u8> {
    let mut answer = Vec::with_capacity(tasks.len() * ENTRY_BYTES);
    for task in tasks {
        answer.extend(task.id.as_bytes());
        answer.extend(task.created_at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_be_bytes());
        let ran = task.holder.map_or(-1, |ran| i64::try_from(ran.as_secs()).unwrap_or(i64::MAX));
        answer.extend(ran.to_be_bytes());
    }
    answer
}

/// Reads an answer from its stored form.
pub fn read(answer: &[u8]) -> Vec<SubmittedTask> {
    let (entries, _) = answer.as_chunks::<ENTRY_BYTES>();
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let entry = |entry: &[u8; ENTRY_BYTES]| {
        let (id, numbers) = entry.split_first_chunk().expect("an entry is longer than an id");
        let ran = u64::try_from(number(&numbers[8..]).cast_signed()).ok();
        SubmittedTask {
            id: TaskId::from_bytes(*id),
            created_at: DateTime::from_timestamp_nanos(number(&numbers[..8]).cast_signed()),
            holder: ran.map(Duration::from_secs),
        }
    };
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_round_trips() {
        let task = |holder| SubmittedTask {
            id: TaskId::new(),
            created_at: DateTime::from_timestamp_nanos(1_700_000_000_123_456_789),
            holder,
        };
        let tasks = [task(None), task(Some(Duration::ZERO)), task(Some(Duration::from_secs(9)))];
        assert_eq!(read(&write(&tasks)), tasks);
        assert_eq!(read(&[]), []);
    }
}
