//! Every file that the configuration names, each in a directory of its own, inside the sandbox.

use std::fs;
use std::path::PathBuf;

use dotward::settings::{Key, Kind, SETTINGS};
use dotward_faults::{Mode, TestCa};

use super::bench::{Bench, local, text};
use crate::support::{NAME, Trust, ask_udp};

/// Named by settings and read by nobody who reads a configuration again: the file itself, and what is written.
const NOT_READ: [&str; 3] = ["listen.control", "cache.snapshot", "log.file"];

/// A file of a setting, and what it says at the start and later.
struct Named {
    setting: String,
    says: [String; 2],
}

/// All there are, by the name of the setting in the file.
fn named(ca: &TestCa) -> Vec<Named> {
    let more = TestCa::new().unwrap();
    // A store of roots with one more in it, and another certificate of the same name.
    let roots = [ca.pem(), ca.pem() + &more.pem()];
    let [old, new] = ["listener.example"; 2].map(|name| ca.good(name).unwrap());
    let chain = [&old, &new].map(|it| it.chain_pem().to_owned());
    let key = [&old, &new].map(|it| it.key_pem());
    let secret = ["00", "11"].map(|it| it.repeat(16));
    let password = ["old", "new"].map(str::to_owned);
    let of = |setting: &str, says: &[String; 2]| Named {
        setting: setting.to_owned(),
        says: says.clone(),
    };
    vec![
        of("listen.certificate", &chain),
        of("listen.key", &key),
        of("listen.client_ca", &roots),
        of("listen.cookie_secret_file", &secret),
        of("tls.ca_file", &roots),
        of("tls.client_cert", &chain),
        of("tls.client_key", &key),
        of("upstream.ca_file", &roots),
        of("upstream.client_cert", &chain),
        of("upstream.client_key", &key),
        of("cache.shared_password_file", &password),
        of("cache.shared_sentinel_password_file", &password),
        of("cache.shared_ca_file", &roots),
    ]
}

/// What the setting is called in a file: `table.name`.
fn in_file(key: Key) -> String {
    format!("{}.{}", key.table, key.name)
}

#[tokio::test]
async fn every_file_that_is_named_is_read_again_wherever_it_lies() {
    let trust = Trust::new();
    let server = trust.server(Mode::default());
    let named = named(&trust.ca);
    let rows = SETTINGS.iter().filter(|it| it.kind == Kind::Path);
    let keys = rows.filter_map(|it| it.key).map(in_file);
    let expected: Vec<_> = keys.filter(|it| !NOT_READ.contains(&&**it)).collect();
    for setting in &expected {
        assert!(named.iter().any(|it| it.setting == *setting), "{setting}");
    }
    assert_eq!(expected.len(), named.len(), "{expected:?}");

    let elsewhere = tempfile::tempdir().unwrap();
    let place = |setting: &str| elsewhere.path().join(setting).join("file");
    let write = |at: usize| {
        for file in &named {
            let path = place(&file.setting);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let beside = path.with_extension("new");
            fs::write(&beside, &file.says[at]).unwrap();
            fs::rename(beside, path).unwrap();
        }
    };
    write(0);
    let line = |table: &str| {
        let own = named.iter().filter_map(|it| {
            let (of, name) = it.setting.split_once('.').unwrap();
            (of == table).then(|| format!("{name} = \"{}\"\n", place(&it.setting).display()))
        });
        own.collect::<String>()
    };
    let base = format!(
        "[listen]\n{}[tls]\n{}[cache]\nshared = \"rediss+sentinel://127.0.0.1:9/main\"\n{}[[upstream]]\nname = \"one\"\naddress = [\"{}\"]\ntls_name = \"{NAME}\"\n{}",
        line("listen"),
        line("tls"),
        line("cache"),
        server.address(),
        line("upstream"),
    );
    let bench = Bench::start_with(trust, &(base.clone() + &local(1)), |_, _| {});
    let inside = bench.program.began.contains("\"files\":\"enforced\"");
    assert!(ask_udp(bench.udp(), "www.example").await.is_good());

    bench.write(&(base.clone() + &local(2)));
    bench.reload_well().await;
    assert_eq!(bench.which().await, 2, "nothing that it names has changed");

    write(1);
    bench.write(&(base.clone() + &local(3)));
    let said = bench.reload_well().await;
    assert!(!said.contains("stays in force"), "{said}");
    assert_eq!(bench.which().await, 3, "all that it names has changed");
    assert!(ask_udp(bench.udp(), "again.example").await.is_good());

    // Each is what is read: with nonsense in it the reload is refused, for that reason. A password may be anything.
    let nonsense = |it: &&Named| !it.setting.ends_with("password_file");
    for file in named.iter().filter(nonsense) {
        let path: PathBuf = place(&file.setting);
        fs::write(&path, "nonsense").unwrap();
        let refused = bench.reload().await;
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{}: {said}", file.setting);
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        fs::write(&path, &file.says[1]).unwrap();
    }
    bench.reload_well().await;
    // What is not named is as far away as ever.
    let secret = elsewhere.path().join("other");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "22".repeat(16)).unwrap();
    let moved = base.replace("listen.cookie_secret_file/", "other/");
    bench.write(&(moved + &local(4)));
    let refused = bench.reload().await;
    assert_eq!(refused.status.success(), !inside);
}
