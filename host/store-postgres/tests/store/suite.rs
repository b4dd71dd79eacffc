//! What every backend must do.

use crate::cluster::Schema;

wasmill_store_suite::conformance!(crate::cluster::Schema);

#[test]
fn the_store_does_what_the_model_does() {
    wasmill_store_suite::random::compare_with_model::<Schema>(12);
}
