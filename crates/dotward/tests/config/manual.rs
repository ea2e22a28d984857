//! `docs/settings.md` is generated from the table.

use dotward::settings::manual::manual;

use crate::{assert_file, repository};

#[test]
fn the_manual_says_what_the_table_says() {
    assert_file(&repository("docs/settings.md"), &manual());
}
