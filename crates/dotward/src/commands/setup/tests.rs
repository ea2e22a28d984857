use std::ffi::OsString;
use std::fs;

use super::*;
use crate::config::{ReadFiles, load};

struct NoFiles;

impl ReadFiles for NoFiles {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A machine of its own, and a configuration.
struct Bench {
    directory: tempfile::TempDir,
    config: Config,
}

impl Bench {
    fn new(options: &[&str]) -> Self {
        let arguments = ["dotward"].iter().chain(options).map(OsString::from);
        let options = crate::cli::parse(arguments).unwrap().options;
        Self {
            directory: tempfile::tempdir().unwrap(),
            config: load(&options, [], &NoFiles).unwrap().config,
        }
    }

    fn file(&self, path: &str) -> PathBuf {
        below(self.directory.path(), path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.file(path)).ok()
    }

    fn run(&self, target: SetupTarget, action: SetupAction) -> Result<String, SetupError> {
        let mut out = Vec::new();
        let root = self.directory.path().to_owned();
        let args = SetupArgs {
            target,
            action,
            root,
        };
        run(&mut out, &self.config, &args)?;
        Ok(String::from_utf8(out).unwrap())
    }
}

const RESOLVED: &str = "/etc/systemd/resolved.conf.d/dotward.conf";
const DAEMON: &str = "/etc/docker/daemon.json";

#[test]
fn printing_changes_nothing_and_shows_the_undo() {
    let bench = Bench::new(&[]);
    for target in SetupTarget::ALL {
        if target == SetupTarget::Docker {
            continue;
        }
        let text = bench.run(target, SetupAction::Print).unwrap();
        assert!(text.contains("undo"), "{text}");
    }
    assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 0);
}

#[test]
fn a_new_file_is_written_and_taken_away_again() {
    let bench = Bench::new(&[]);
    let target = SetupTarget::SystemdResolved;
    let told = bench.run(target, SetupAction::Apply).unwrap();
    assert!(
        told.contains("systemctl restart systemd-resolved"),
        "{told}"
    );
    let written = bench.read(RESOLVED).unwrap();
    assert!(
        written.contains("DNS=127.0.0.1 ::1\nDomains=~.\n"),
        "{written}"
    );
    let again = bench.run(target, SetupAction::Apply).unwrap();
    assert!(again.contains("so already"), "{again}");
    bench.run(target, SetupAction::Undo).unwrap();
    assert_eq!(bench.read(RESOLVED), None);
    let nothing = bench.run(target, SetupAction::Undo).unwrap_err();
    assert!(nothing.to_string().contains("nothing to undo"), "{nothing}");
}

#[test]
fn what_was_there_is_kept_and_put_back_with_its_rights() {
    use std::os::unix::fs::PermissionsExt;
    const FILE: &str = "/etc/resolv.conf";
    let original = "search corp.example\noptions edns0\nnameserver 192.0.2.1\n";
    let bench = Bench::new(&[]);
    bench.put(FILE, original);
    fs::set_permissions(bench.file(FILE), fs::Permissions::from_mode(0o640)).unwrap();
    bench
        .run(SetupTarget::ResolvConf, SetupAction::Apply)
        .unwrap();
    let written = bench.read(FILE).unwrap();
    assert!(
        written.ends_with(
            "search corp.example\noptions edns0\nnameserver 127.0.0.1\nnameserver ::1\n"
        ),
        "{written}"
    );
    // With another configuration the file is still ours, and the first one is still what is kept.
    let other = Bench::new(&["--listen", "127.0.0.2:53"]);
    let root = bench.directory.path().to_owned();
    let args = |action| SetupArgs {
        target: SetupTarget::ResolvConf,
        action,
        root: root.clone(),
    };
    run(&mut Vec::new(), &other.config, &args(SetupAction::Apply)).unwrap();
    assert!(bench.read(FILE).unwrap().contains("nameserver 127.0.0.2\n"));
    bench
        .run(SetupTarget::ResolvConf, SetupAction::Undo)
        .unwrap();
    assert_eq!(bench.read(FILE).as_deref(), Some(original));
    let mode = fs::metadata(bench.file(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(bench.read("/etc/resolv.conf.before-dotward"), None);
}

#[test]
fn what_others_wrote_is_neither_thrown_away_nor_undone() {
    const FILE: &str = "/etc/resolv.conf";
    let bench = Bench::new(&[]);
    bench.put(FILE, "nameserver 192.0.2.1\n");
    bench
        .run(SetupTarget::ResolvConf, SetupAction::Apply)
        .unwrap();
    bench.put(FILE, "nameserver 192.0.2.2\n");
    let undo = bench
        .run(SetupTarget::ResolvConf, SetupAction::Undo)
        .unwrap_err();
    assert!(undo.to_string().contains("was changed since"), "{undo}");
    let apply = bench
        .run(SetupTarget::ResolvConf, SetupAction::Apply)
        .unwrap_err();
    assert!(apply.to_string().contains("is there already"), "{apply}");
    assert_eq!(bench.read(FILE).as_deref(), Some("nameserver 192.0.2.2\n"));
    assert_eq!(
        bench.read("/etc/resolv.conf.before-dotward").as_deref(),
        Some("nameserver 192.0.2.1\n")
    );
}

#[test]
fn what_was_changed_below_our_first_line_is_not_undone_either() {
    let bench = Bench::new(&[]);
    for (target, file) in [
        (SetupTarget::ResolvConf, "/etc/resolv.conf"),
        (
            SetupTarget::NetworkManager,
            "/etc/NetworkManager/conf.d/dotward.conf",
        ),
        (SetupTarget::SystemdResolved, RESOLVED),
    ] {
        bench.run(target, SetupAction::Apply).unwrap();
        let edited = bench.read(file).unwrap() + "# and one line of mine\n";
        bench.put(file, &edited);
        let refused = bench.run(target, SetupAction::Undo).unwrap_err();
        assert!(
            refused.to_string().contains("nothing was undone"),
            "{refused}"
        );
        assert_eq!(bench.read(file).as_ref(), Some(&edited));
        // Written again, it is kept beside, and comes back.
        bench.run(target, SetupAction::Apply).unwrap();
        bench.run(target, SetupAction::Undo).unwrap();
        assert_eq!(bench.read(file).as_ref(), Some(&edited));
    }
}

#[test]
fn a_file_of_ours_is_known_whatever_is_listened_on_now() {
    let bench = Bench::new(&["--listen", "127.0.0.1:53"]);
    let (target, file) = (SetupTarget::ResolvConf, "/etc/resolv.conf");
    bench.put(file, "nameserver 192.0.2.1\n");
    bench.run(target, SetupAction::Apply).unwrap();
    let other = Bench {
        config: Bench::new(&["--listen", "[::1]:53"]).config,
        ..bench
    };
    other.run(target, SetupAction::Apply).unwrap();
    assert!(other.read(file).unwrap().ends_with("nameserver ::1\n"));
    other.run(target, SetupAction::Undo).unwrap();
    assert_eq!(other.read(file).as_deref(), Some("nameserver 192.0.2.1\n"));
}

#[test]
fn what_was_changed_in_a_file_without_comments_is_not_undone_either() {
    let bench = Bench::new(&["--listen", "172.17.0.1:53"]);
    for before in [None, Some("{\"log-driver\": \"journald\"}")] {
        if let Some(before) = before {
            bench.put(DAEMON, before);
        }
        bench.run(SetupTarget::Docker, SetupAction::Apply).unwrap();
        let written = bench.read(DAEMON).unwrap();
        let edited = written.replace('{', "{\n  \"debug\": true,");
        let parsed: serde_json::Value = serde_json::from_str(&edited).unwrap();
        bench.put(DAEMON, &format!("{parsed:#}\n"));
        let refused = bench
            .run(SetupTarget::Docker, SetupAction::Undo)
            .unwrap_err();
        assert!(
            refused.to_string().contains("nothing was undone"),
            "{refused}"
        );
        assert!(bench.read(DAEMON).unwrap().contains("debug"));
        bench.put(DAEMON, &written);
        bench.run(SetupTarget::Docker, SetupAction::Undo).unwrap();
        assert_eq!(bench.read(DAEMON).as_deref(), before);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_addresses_of_interfaces_are_listened_on_too() {
    let bench = Bench::new(&["--listen", "lo:53"]);
    let told = bench.run(SetupTarget::ResolvConf, SetupAction::Print);
    assert!(told.unwrap().contains("+ nameserver 127.0.0.1\n"));
}

#[test]
fn a_link_belongs_to_another_program() {
    let bench = Bench::new(&[]);
    bench.put(
        "/run/systemd/resolve/stub-resolv.conf",
        "nameserver 127.0.0.53\n",
    );
    fs::create_dir_all(bench.file("/etc")).unwrap();
    std::os::unix::fs::symlink(
        "../run/systemd/resolve/stub-resolv.conf",
        bench.file("/etc/resolv.conf"),
    )
    .unwrap();
    let refused = bench
        .run(SetupTarget::ResolvConf, SetupAction::Apply)
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("dotward setup systemd-resolved"),
        "{refused}"
    );
}

#[test]
fn dockers_other_settings_stay() {
    let loopback = Bench::new(&[]);
    let refused = loopback
        .run(SetupTarget::Docker, SetupAction::Print)
        .unwrap_err();
    assert!(
        refused.to_string().contains("--listen 172.17.0.1:53"),
        "{refused}"
    );
    let bench = Bench::new(&["--listen", "127.0.0.1:53,172.17.0.1:53"]);
    bench.put(
        DAEMON,
        "{\"log-driver\": \"journald\", \"dns\": [\"192.0.2.1\"]}",
    );
    bench.run(SetupTarget::Docker, SetupAction::Apply).unwrap();
    let written: serde_json::Value = serde_json::from_str(&bench.read(DAEMON).unwrap()).unwrap();
    assert_eq!(written["log-driver"], "journald");
    assert_eq!(written["dns"], serde_json::json!(["172.17.0.1"]));
    bench.run(SetupTarget::Docker, SetupAction::Undo).unwrap();
    assert!(bench.read(DAEMON).unwrap().contains("192.0.2.1"));
    bench.put(DAEMON, "{ nonsense");
    let refused = bench
        .run(SetupTarget::Docker, SetupAction::Apply)
        .unwrap_err();
    assert!(refused.to_string().contains("mend the file"), "{refused}");
}

#[test]
fn the_port_is_said_where_it_can_be_and_refused_where_it_cannot() {
    let bench = Bench::new(&["--listen", "127.0.0.1:5300"]);
    bench
        .run(SetupTarget::SystemdResolved, SetupAction::Apply)
        .unwrap();
    assert!(
        bench
            .read(RESOLVED)
            .unwrap()
            .contains("DNS=127.0.0.1:5300\n")
    );
    for target in [SetupTarget::ResolvConf, SetupTarget::NetworkManager] {
        let refused = bench.run(target, SetupAction::Print).unwrap_err();
        assert!(refused.to_string().contains("port 53 only"), "{refused}");
    }
    let everywhere = Bench::new(&["--listen", "0.0.0.0:53"]);
    let told = everywhere
        .run(SetupTarget::SystemdResolved, SetupAction::Apply)
        .unwrap();
    assert!(
        told.contains("ln -sf ../run/systemd/resolve/resolv.conf"),
        "{told}"
    );
    let written = everywhere.read(RESOLVED).unwrap();
    assert!(
        written.contains("DNS=127.0.0.1\n") && written.contains("DNSStubListener=no"),
        "{written}"
    );
}

#[test]
fn a_cluster_is_not_changed_from_here() {
    let bench = Bench::new(&[]);
    for action in [SetupAction::Apply, SetupAction::Undo] {
        let refused = bench.run(SetupTarget::Kubernetes, action).unwrap_err();
        assert!(
            refused.to_string().contains("does not change a cluster"),
            "{refused}"
        );
    }
}
