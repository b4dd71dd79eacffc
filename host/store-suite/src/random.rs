//! Random commands against a model that is simple enough to be right.

mod children;
mod claim;
mod command;
mod compare;
mod hosts;
mod insert;
mod known;
mod posted;
mod world;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::command::{command, step};
use self::world::World;
use crate::{Fixture, SharedFixture};

/// For how long a failure with several hosts is made smaller, in milliseconds.
const SHRINK_MS_MAX: u32 = 120_000;

/// Runs this many random sequences of up to 60 commands, and compares the store with the model after each command.
///
/// # Panics
///
/// If they differ; the message has the shortest sequence found.
pub fn compare_with_model<F: Fixture>(cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(command(), 1..60), |commands| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::<F>::new();
            for command in commands {
                world.run(command).await;
                world.compare().await;
            }
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Does the same at random hosts of one database, while hosts come and go, are killed, lose the way to the database or
/// their registration, and lose commits or the answers to them. Compares the asked host after each step, and all of them
/// and their events at the end.
///
/// # Panics
///
/// If they differ; the message has the shortest sequence found.
pub fn compare_hosts_with_model<F: SharedFixture>(cases: u32) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_time: SHRINK_MS_MAX,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::<F>::of_several();
            for (asked, step) in steps {
                world.step(asked, step).await;
                world.compare().await;
            }
            world.compare_all().await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
