//! Random commands against a model that is simple enough to be right.

mod command;
mod compare;
mod insert;
mod known;
mod world;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use self::command::command;
use self::world::World;
use crate::Fixture;

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
