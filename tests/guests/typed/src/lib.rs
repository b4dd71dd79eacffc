//! A plugin that uses everything of the guest crate.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmill_guest::{
    Failure, context, log, monotonic_clock, progress, random, restore_json, save_json, sleep, wait,
    wall_clock,
};

wasmill_guest::task!(run);

/// The action, by the field `do`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Deed {
    /// Allocates and frees blocks of many sizes, and checks what is in them.
    Churn { rounds: u32 },
    /// Counts its attempts in a checkpoint, and fails until this one.
    Count { until: u32 },
    /// Reads the clocks, sleeps and waits in between.
    Clocks { ms: u64 },
    /// Fails, and says that another attempt would fail, too.
    FailForGood,
    /// Sleeps in steps until it is asked to stop.
    Sleep,
    /// Writes a line that is longer than one write may be, with `log` and with `println!`.
    Log { letters: usize },
}

/// The result.
#[derive(Default, Serialize)]
struct Output {
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<Counted>,
}

/// The checkpoint.
#[derive(Clone, Default, Deserialize, Serialize)]
struct Counted {
    attempts: Vec<u32>,
}

fn run(deed: Deed) -> Result<Output, Failure> {
    let output = Output { attempt: context().attempt, ..Output::default() };
    progress(0.5, "at work");
    match deed {
        Deed::Churn { rounds } => Ok(Output { pages: Some(churn(rounds)?), ..output }),
        Deed::Count { until } => {
            let mut counted: Counted = restore_json()?.unwrap_or_default();
            counted.attempts.push(output.attempt);
            save_json(&counted)?;
            if output.attempt < until {
                return Err(Failure::io("not yet").retried_after(Duration::from_millis(10)));
            }
            Ok(Output { counted: Some(counted), ..output })
        }
        Deed::Clocks { ms } => {
            let (wall, start) = (wall_clock(), monotonic_clock());
            sleep(Duration::from_millis(ms))?;
            wait(Duration::from_millis(ms));
            if wall.as_secs() < 1_700_000_000 || random() == random() {
                return Err("the clock or the random numbers stand still".into());
            }
            Ok(Output { waited_ms: Some((monotonic_clock() - start).as_millis()), ..output })
        }
        Deed::FailForGood => Err(Failure::io("the account is closed").never_retried()),
        Deed::Sleep => loop {
            sleep(Duration::from_secs(3_600))?;
        },
        Deed::Log { letters } => {
            log(&"a".repeat(letters));
            println!("{}", "b".repeat(letters));
            Ok(output)
        }
    }
}

/// Keeps at most 64 blocks of up to 16 KiB, and returns how many pages the memory has at the end.
fn churn(rounds: u32) -> Result<usize, Failure> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let size = 1 + (state % 16_384) as usize >> (state >> 32) % 12;
        if kept.len() == 64 {
            let old = kept.swap_remove((state >> 20) as usize % 64);
            if old.iter().any(|byte| *byte != old[0]) {
                return Err(Failure::other(format!("a block was overwritten in round {round}")));
            }
        }
        let mut block = vec![round as u8; 1];
        // It grows in steps, as a text does that is built.
        while block.len() < size {
            block.extend(vec![round as u8; block.len().min(size - block.len())]);
        }
        block.shrink_to(size / 2);
        kept.push(block);
    }
    Ok(std::arch::wasm32::memory_size(0))
}
