//! `healthcheck`, `man` and `completions` of the real program.

use std::process::{Command, Output};

use dotward::commands::generated::page_names;
use dotward_faults::Mode;

use crate::support::Chain;

fn dotward(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotward"));
    command.args(arguments).env_clear().output().unwrap()
}

#[tokio::test]
async fn healthcheck_is_0_while_somebody_answers_and_1_else() {
    let chain = Chain::new(Mode::default());
    let udp = format!("udp://{}", chain.udp());
    let tcp = format!("tcp://{}", chain.tcp());
    let check = |listen: &str| dotward(&["healthcheck", "--listen", listen]);
    assert_eq!(check(&udp).status.code(), Some(0));
    assert_eq!(check(&tcp).status.code(), Some(0));
    chain.proxy.stop().unwrap();
    for listen in [udp, tcp] {
        let ended = check(&listen);
        assert_eq!(ended.status.code(), Some(1));
        let told = String::from_utf8(ended.stderr).unwrap();
        assert!(told.contains("does not answer"), "{told}");
    }
    // Container engines keep 2 for themselves.
    for listen in ["somewhere-far-away", "nowhere0"] {
        let wrong = dotward(&["healthcheck", "--listen", listen]);
        assert_eq!(wrong.status.code(), Some(1), "{listen}");
    }
}

#[tokio::test]
async fn healthcheck_knows_a_listener_that_does_not_serve_this_machine() {
    let chain = Chain::with(Mode::default(), |config, _| {
        config.allow = vec!["192.168.0.0/16".parse().unwrap()];
        config.deny = dotward::config::Deny::Silence;
    });
    let check = |listen: &str| {
        let denied = ["--allow", "192.168.0.0/16"];
        dotward(&[&["healthcheck", "--listen", listen], &denied[..]].concat())
    };
    let tcp = format!("tcp://{}", chain.tcp());
    let good = check(&tcp);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let silent = check(&format!("udp://{}", chain.udp()));
    assert_eq!(silent.status.code(), Some(1));
    let told = String::from_utf8(silent.stderr).unwrap();
    assert!(
        told.contains("`listen.allow` leaves 127.0.0.1 out"),
        "{told}"
    );
    chain.proxy.stop().unwrap();
    assert_eq!(check(&tcp).status.code(), Some(1), "nobody listens");
}

#[test]
fn every_command_has_a_page_and_every_shell_its_completions() {
    let names = page_names();
    for name in [
        "query",
        "healthcheck",
        "upstream-rank",
        "config-show",
        "setup",
        "log-level",
    ] {
        assert!(names.iter().any(|it| it == name), "no {name} in {names:?}");
    }
    let all = names.iter().map(|name| vec!["man", name.as_str()]);
    for page in all.chain([vec!["man"]]) {
        let page = page.as_slice();
        let written = dotward(page);
        let text = String::from_utf8(written.stdout).unwrap();
        assert!(
            written.status.success() && text.contains(".SH SYNOPSIS"),
            "{text}"
        );
    }
    let unknown = dotward(&["man", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(2));
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("no command `nonsense`"), "{said}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let written = dotward(&["completions", shell]);
        let text = String::from_utf8(written.stdout).unwrap();
        assert!(
            ["upstream", "ready-requires", "doctor", "schema", "rank"]
                .iter()
                .all(|word| text.contains(word)),
            "{shell}"
        );
    }
    assert_eq!(dotward(&["completions", "cmd"]).status.code(), Some(2));
}

/// What bash offers behind a word of a command line.
fn offered(line: &[&str]) -> Option<Vec<String>> {
    let script = String::from_utf8(dotward(&["completions", "bash"]).stdout).unwrap();
    let words = format!(
        "{script}\nCOMP_WORDS=(dotward \"$@\" ''); COMP_CWORD=$(($# + 1)); \
         _dotward dotward '' \"${{@: -1}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", &words, "bash"]).args(line).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn a_shell_offers_words_for_values_and_the_program_takes_others_too() {
    for (line, word) in [
        (&["--upstream"][..], "quad9"),
        (&["query", "www.example", "--via"], "quad9"),
        (&["upstream", "test"], "quad9"),
        (&["log-level"], "debug"),
        (&["--log-level"], "warn"),
        (&["--strategy"], "fastest"),
        (&["--log-format"], "json"),
    ] {
        let Some(offered) = offered(line) else {
            // There is no bash.
            return;
        };
        assert!(offered.iter().any(|it| it == word), "{line:?}: {offered:?}");
    }
    let checked = dotward(&["check", "--upstream", "tls://dot.example@192.0.2.53"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}
