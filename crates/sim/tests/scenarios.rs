//! Plays every file of `testdata/scenarios`.

use dotward_sim::{files, scenario};

#[test]
fn every_scenario_goes_as_written() {
    let scenarios = files("scenarios", "scenario").unwrap();
    assert!(scenarios.len() >= 25, "only {} scenarios", scenarios.len());
    let faults: Vec<String> = scenarios
        .iter()
        .filter_map(|(file, text)| {
            let fault = scenario::run(text).err()?;
            Some(format!("testdata/scenarios/{file}:{fault}"))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {} scenarios fail\n{}",
        faults.len(),
        scenarios.len(),
        faults.join("\n")
    );
}

#[test]
fn a_scenario_that_goes_otherwise_is_told_with_its_line() {
    let text = "upstream one 192.0.2.1:853\n\nask 1 www.example\nexpect open c one 192.0.2.2:853\n";
    let fault = scenario::run(text).unwrap_err();
    assert!(
        fault.starts_with("4: ") && fault.contains("192.0.2.1:853"),
        "{fault}"
    );
    let left = scenario::run("upstream one 192.0.2.1:853\nask 1 www.example\n").unwrap_err();
    assert!(left.contains("not expected"), "{left}");
    let typo = scenario::run("upstream one 192.0.2.1:853\nasc 1 www.example\n").unwrap_err();
    assert!(typo.contains("what is asc?"), "{typo}");
}
