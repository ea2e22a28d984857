//! Runs every case of `testdata/wire`.

use dotward_sim::{files, fixture};

#[test]
fn every_fixture_becomes_what_it_says() {
    let mut faults = Vec::new();
    let mut count = 0;
    for (file, text) in files("wire", "txt").unwrap() {
        let cases = fixture::read(&text).unwrap_or_else(|error| panic!("{file}:{error}"));
        for case in &cases {
            count += 1;
            if let Err(fault) = fixture::run(case) {
                faults.push(format!("{file}:{fault}\n  in: {}", case.title));
            }
        }
    }
    assert!(count > 100, "only {count} fixtures were found");
    assert!(
        faults.is_empty(),
        "{} of {count} fixtures fail\n{}",
        faults.len(),
        faults.join("\n")
    );
}
