//! What every backend must do.

use crate::folder::Folder;

wasmill_store_suite::conformance!(crate::folder::Folder);

#[test]
fn the_store_does_what_the_model_does() {
    wasmill_store_suite::random::compare_with_model::<Folder>(48);
}
