use std::fs;
use std::path::Path;
use std::time::Duration;

use dotward_faults::TestCa;

use super::*;
use crate::config::ClientIdentity;

struct Bench {
    directory: tempfile::TempDir,
    watched: Watched,
}

fn settings(directory: &Path) -> UpstreamSettings {
    UpstreamSettings {
        tls_name: Some("dot.example".try_into().unwrap()),
        ca_file: Some(directory.join("ca.pem")),
        client_identity: Some(ClientIdentity {
            certificate_file: directory.join("client.pem"),
            key_file: directory.join("client.key"),
        }),
        ..UpstreamSettings::new("test".into(), vec!["192.0.2.1:853".parse().unwrap()], 853)
    }
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &TestCa::new().unwrap());
        let settings = Box::new(settings(directory.path()));
        let files = vec![
            directory.path().join("client.pem"),
            directory.path().join("client.key"),
            roots_file(&settings).unwrap(),
        ];
        Self {
            watched: Watched::new(Owner::Upstream(UpstreamId(0), settings), files),
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn look(&mut self) -> Option<Change> {
        self.watched.look()
    }
}

fn write(directory: &Path, ca: &TestCa) {
    let identity = ca.client("client.example").unwrap();
    ca.write_pem(&directory.join("ca.pem")).unwrap();
    fs::write(directory.join("client.pem"), identity.chain_pem()).unwrap();
    fs::write(directory.join("client.key"), identity.key_pem()).unwrap();
}

#[test]
fn files_that_stay_as_they_are_are_not_read() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        assert!(bench.look().is_none());
    }
}

#[test]
fn changed_files_are_read_once_when_they_have_come_to_rest() {
    let mut bench = Bench::new();
    write(bench.directory.path(), &TestCa::new().unwrap());
    assert!(bench.look().is_none());
    assert!(bench.watched.is_settling());
    fs::write(bench.path("note"), "not one of the files").unwrap();
    assert!(matches!(bench.look(), Some(Change::Upstream { .. })));
    assert!(!bench.watched.is_settling());
    assert!(bench.look().is_none());
}

#[test]
fn a_certificate_is_not_read_before_its_key_has_come() {
    let mut bench = Bench::new();
    let identity = TestCa::new().unwrap().client("client.example").unwrap();
    fs::write(bench.path("client.pem"), identity.chain_pem()).unwrap();
    assert!(bench.look().is_none());
    fs::write(bench.path("client.key"), identity.key_pem()).unwrap();
    assert!(bench.look().is_none(), "still changing");
    assert!(matches!(bench.look(), Some(Change::Upstream { .. })));
}

#[test]
fn unusable_files_are_told_once_and_good_ones_again() {
    let mut bench = Bench::new();
    let good = fs::read(bench.path("client.key")).unwrap();
    for bad in ["", "garbage", &TestCa::new().unwrap().pem()] {
        fs::write(bench.path("client.key"), bad).unwrap();
        assert!(bench.look().is_none());
        let Some(Change::Refused { whose, error }) = bench.look() else {
            panic!("{bad:?} was read");
        };
        assert_eq!(whose, "upstream test");
        assert!(error.contains("client.key"), "{error}");
        assert!(bench.look().is_none() && bench.look().is_none());
    }
    fs::write(bench.path("client.key"), good).unwrap();
    assert!(bench.look().is_none());
    assert!(matches!(bench.look(), Some(Change::Upstream { .. })));
}

#[test]
fn a_file_that_vanishes_is_told_once() {
    let mut bench = Bench::new();
    fs::remove_file(bench.path("ca.pem")).unwrap();
    assert!(bench.look().is_none());
    assert!(matches!(bench.look(), Some(Change::Refused { .. })));
    assert!(bench.look().is_none());
}

#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let mut bench = Bench::new();
    let key = bench.path("client.key");
    fs::rename(&key, bench.path("key.1")).unwrap();
    std::os::unix::fs::symlink("key.1", &key).unwrap();
    // The same file under its name: the link counts for nothing.
    bench.watched.files.renew();
    fs::copy(bench.path("key.1"), bench.path("key.2")).unwrap();
    let times = fs::metadata(bench.path("key.1"))
        .unwrap()
        .modified()
        .unwrap();
    let copy = fs::File::options().write(true).open(bench.path("key.2"));
    copy.unwrap().set_modified(times + Duration::ZERO).unwrap();
    std::os::unix::fs::symlink("key.2", bench.path("link")).unwrap();
    fs::rename(bench.path("link"), &key).unwrap();
    assert!(bench.look().is_none());
    assert!(matches!(bench.look(), Some(Change::Upstream { .. })));
}
