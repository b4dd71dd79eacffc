//! What every backend must do.

use crate::cluster::Schema;
use crate::shared::SharedSchema;

wasmill_store_suite::conformance!(crate::cluster::Schema);

#[test]
fn the_store_does_what_the_model_does() {
    wasmill_store_suite::random::compare_with_model::<Schema>(12);
}

#[test]
fn random_hosts_do_what_the_model_does() {
    wasmill_store_suite::random::compare_hosts_with_model::<SharedSchema>(8);
}
