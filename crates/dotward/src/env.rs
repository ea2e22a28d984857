//! The environment: our variables, those of older proxies, and those that only look like ours.
//!
//! An empty variable counts as not set: container files set variables they have no value for. A
//! variable nobody knows is a warning, not a fault, and none at all where Kubernetes put it there:
//! for a service called `dotward` it sets `DOTWARD_SERVICE_HOST`, `DOTWARD_PORT` and their kin in
//! every pod.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::config::fault::{Fault, Problem};
use crate::config::layers::Given;
use crate::config::place::Place;
use crate::config::report::Warning;
use crate::config::suggest::nearest;
use crate::config::value::{ValueFault, split_list};
use crate::settings::{Id, OLDER_NAMES, OlderForm, SETTINGS, Setting};

const PREFIX: &str = "DOTWARD_";

/// The variable in which systemd names the directories it made for the unit, separated by colons (systemd.exec(5)).
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) settings: Vec<(Id, Place, Vec<Given>)>,
    pub(crate) older: BTreeMap<&'static str, Given>,
    /// Where the control socket is unless somebody says otherwise.
    pub(crate) control: Option<Given>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) faults: Vec<Fault>,
}

/// Reads it.
pub(crate) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    let mut read = Environment::default();
    for (name, value) in variables {
        let Some(name) = name.to_str() else { continue };
        if value.is_empty() {
            continue;
        }
        if name == RUNTIME_DIRECTORY {
            read.control = control_in(&value);
        }
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.variable == Some(name));
        let older = OLDER_NAMES
            .iter()
            .find(|older| older.form == OlderForm::Variable && older.name == name);
        match (setting, older) {
            (Some(setting), _) => {
                if let Some(text) = read.text(setting.title(), name, &value) {
                    read.put(setting, name, &text);
                }
            }
            (None, Some(older)) => {
                if let Some(text) = read.text(older.name.to_owned(), name, &value) {
                    let place = Place::Variable(name.to_owned());
                    read.older.insert(older.name, Given { text, place });
                }
            }
            (None, None) => read.warnings.extend(unknown(name)),
        }
    }
    // The environment has no order worth keeping.
    read.warnings.sort_by_key(ToString::to_string);
    read
}

impl Environment {
    fn text(&mut self, key: String, name: &str, value: &OsString) -> Option<String> {
        if let Some(text) = value.to_str() {
            return Some(text.to_owned());
        }
        let value = value.to_string_lossy().into_owned();
        let problem = Problem::BadValue {
            key,
            value,
            fault: ValueFault::NotUtf8,
        };
        self.faults
            .push(Fault::new(&Place::Variable(name.to_owned()), problem));
        None
    }

    fn put(&mut self, setting: &Setting, name: &str, text: &str) {
        let place = Place::Variable(name.to_owned());
        let texts = if setting.many {
            split_list(setting.kind, text)
        } else {
            vec![text.to_owned()]
        };
        let given = |text| Given {
            text,
            place: place.clone(),
        };
        let values = texts.into_iter().map(given).collect();
        self.settings.push((setting.id, place.clone(), values));
    }
}

/// The control socket in the first of the directories; none where the path is not UTF-8, because nobody has asked for it.
fn control_in(directories: &OsString) -> Option<Given> {
    let first = directories.to_str()?.split(':').next()?;
    Some(Given {
        text: format!("{first}/control.sock"),
        place: Place::Variable(RUNTIME_DIRECTORY.to_owned()),
    })
}

fn unknown(name: &str) -> Option<Warning> {
    let rest = name.strip_prefix(PREFIX)?;
    let of_kubernetes = rest == "PORT"
        || rest.starts_with("PORT_")
        || rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.contains("_PORT_")
        || rest.ends_with("_PORT");
    if of_kubernetes {
        return None;
    }
    let variables = SETTINGS.iter().filter_map(|setting| setting.variable);
    let suggestion = nearest(
        rest,
        variables.clone().filter_map(|it| it.strip_prefix(PREFIX)),
    )
    .and_then(|near| {
        variables
            .clone()
            .find(|it| it.strip_prefix(PREFIX) == Some(near))
    });
    Some(Warning::UnknownVariable {
        name: name.to_owned(),
        suggestion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_pairs(pairs: &[(&str, &str)]) -> Environment {
        read(
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }

    #[test]
    fn empty_variables_are_not_set() {
        let read = read_pairs(&[
            ("DOTWARD_LISTEN", ""),
            ("DOT_ADDRESS", ""),
            ("DOTWARD_X", ""),
        ]);
        assert!(read.settings.is_empty() && read.older.is_empty() && read.warnings.is_empty());
    }

    #[test]
    fn strangers_are_told_and_those_of_kubernetes_are_not() {
        let read = read_pairs(&[
            ("DOTWARD_UPSTREM", "quad9"),
            ("DOTWARD_WEATHER", "fair"),
            ("DOTWARD_PORT", "tcp://10.0.0.1:53"),
            ("DOTWARD_PORT_53_UDP_ADDR", "10.0.0.1"),
            ("DOTWARD_SERVICE_HOST", "10.0.0.1"),
            ("DOTWARD_UDP_SERVICE_PORT_DNS", "53"),
            ("DOTWARD_UDP_PORT", "udp://10.0.0.1:53"),
            ("PATH", "/bin"),
        ]);
        let warnings: Vec<_> = read.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "unknown variable DOTWARD_UPSTREM has no effect; did you mean DOTWARD_UPSTREAM?",
                "unknown variable DOTWARD_WEATHER has no effect; remove it",
            ]
        );
    }

    #[test]
    fn no_variable_of_ours_looks_like_one_of_kubernetes() {
        let variables = SETTINGS.iter().filter_map(|setting| setting.variable);
        for variable in variables {
            let stranger = format!("{variable}X");
            assert!(unknown(&stranger).is_some(), "{variable}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_utf8_is_a_fault_of_its_variable() {
        use std::os::unix::ffi::OsStringExt;
        let bad = OsString::from_vec(vec![b'/', 0xff]);
        let read = read([("DOTWARD_CA_FILE".into(), bad)]);
        assert_eq!(read.faults.len(), 1);
        assert!(read.faults[0].to_string().starts_with("DOTWARD_CA_FILE: "));
    }
}
