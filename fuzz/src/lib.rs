//! The bodies of the fuzz targets. Each is an ordinary function that panics when a law is broken, so that an ordinary test
//! replays the inputs of `corpus/` without a fuzzer.

use std::sync::LazyLock;
use std::time::Duration;

use dotward_core::front::Front;
use dotward_sim::kept;
use dotward_sim::laws;
use dotward_sim::world::{self, Chance};

#[cfg(feature = "shell")]
pub mod shell;

/// A client's message: its verdict, its reply, the query it becomes.
pub fn query(data: &[u8]) {
    static FRONT: LazyLock<Front> = LazyLock::new(laws::front);
    laws::query(&FRONT, data);
}

/// An upstream's message: what each kind of asker gets, and how its records are shown.
pub fn response(data: &[u8]) {
    laws::response(data);
    #[cfg(feature = "shell")]
    shell::records(data);
}

/// An upstream's message rendered, and rendered again.
pub fn edit(data: &[u8]) {
    laws::edit(data);
}

/// A kept answer from another process: what a snapshot or a shared cache may hold.
pub fn portable(data: &[u8]) {
    laws::portable(data);
}

/// A stream in pieces: eight octets that say how it is cut, then the stream.
pub fn frame(data: &[u8]) {
    laws::frame(data);
}

/// A stream that may begin with a PROXY header.
pub fn proxy(data: &[u8]) {
    laws::proxy(data);
}

/// A session of clients, engine and upstreams, each octet a choice.
pub fn session(data: &[u8]) {
    if let Err(fault) = world::live(Chance::Octets(data), Duration::from_secs(8)) {
        panic!("{fault}");
    }
}

/// The cache against a naive model of it: four octets a step.
pub fn cache(data: &[u8]) {
    kept::live(data);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn replay(target: &str, body: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            count += 1;
            if std::panic::catch_unwind(|| body(&data)).is_err() {
                panic!("{} breaks a law of {target}", path.display());
            }
        }
        assert!(count > 0, "nothing in {}", directory.display());
    }

    #[test]
    fn queries_are_replayed() {
        replay("query", super::query);
    }

    #[test]
    fn portable_answers_are_replayed() {
        replay("portable", super::portable);
    }

    #[test]
    fn responses_are_replayed() {
        replay("response", super::response);
    }

    #[test]
    fn edits_are_replayed() {
        replay("edit", super::edit);
    }

    #[test]
    fn frames_are_replayed() {
        replay("frame", super::frame);
    }

    #[test]
    fn proxy_headers_are_replayed() {
        replay("proxy", super::proxy);
    }

    #[cfg(feature = "shell")]
    #[test]
    fn configuration_files_are_replayed() {
        replay("file", super::shell::file);
    }

    #[cfg(feature = "shell")]
    #[test]
    fn arguments_variables_and_requests_are_replayed() {
        replay("words", super::shell::words);
    }

    #[test]
    fn caches_are_replayed() {
        replay("cache", super::cache);
    }

    #[test]
    fn sessions_are_replayed() {
        replay("session", super::session);
    }
}
