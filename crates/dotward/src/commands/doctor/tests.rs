use std::ffi::OsString;

use super::*;

/// A machine with these files, and the directory they are in.
pub(super) fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine {
        root: directory.path().to_owned(),
    };
    for (path, text) in files {
        let path = machine.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    (directory, machine)
}

/// The configuration of these options.
pub(super) fn config(options: &[&str]) -> Config {
    let arguments = ["dotward"].iter().chain(options).map(OsString::from);
    let options = crate::cli::parse(arguments).unwrap().options;
    load(&options, [], &NoFiles).unwrap().config
}

#[test]
fn a_finding_is_a_fact_then_its_meaning_then_what_to_do() {
    let findings = [
        Finding::good("clock", "it is noon"),
        Finding::wrong("127.0.0.1:53/udp", "held by x")
            .means("no")
            .mended_by("stop x"),
    ];
    let mut out = Vec::new();
    assert!(!write(&mut out, &findings, false).unwrap());
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "good   clock             it is noon\n\
         wrong  127.0.0.1:53/udp  held by x\n\
         \u{20}                        meaning: no\n\
         \u{20}                        to do: stop x\n\
         1 thing is wrong\n"
    );
    let mut out = Vec::new();
    assert!(write(&mut out, &findings[..1], true).unwrap());
    let json: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["wrong"], 0);
    assert_eq!(json["findings"][0]["level"], "good");
    assert_eq!(json["findings"][0]["remedy"], Value::Null);
}

#[test]
fn a_configuration_with_faults_is_wrong_and_the_rest_is_looked_at_all_the_same() {
    let arguments = ["dotward", "--upstream", "nonsense"].map(OsString::from);
    let options = crate::cli::parse(arguments).unwrap().options;
    let finding = configuration(&load(&options, [], &NoFiles));
    assert_eq!(finding.level, Level::Wrong);
    assert!(finding.fact.starts_with("1 fault: "), "{finding:?}");
    assert!(finding.remedy.contains("dotward check"), "{finding:?}");
}
