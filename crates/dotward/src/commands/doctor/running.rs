//! Whether a dotward runs, by its control socket.

use std::path::Path;

use super::Finding;
use crate::control::Request;
use crate::control::client::{self, ClientError};

const TOPIC: &str = "running";

pub(super) fn findings(control: Option<&Path>) -> Option<Finding> {
    Some(match client::ask(control?, &Request::Status) {
        Ok(answered) => {
            let status = &answered.value;
            let who = format!("pid {}", status["pid"]);
            let degraded: Vec<_> = status["degraded"]
                .as_array()
                .into_iter()
                .flatten()
                .collect();
            match degraded.as_slice() {
                [] => Finding::good(TOPIC, format!("{who}, and says that all is well")),
                faults => {
                    let faults: Vec<_> = faults.iter().filter_map(|it| it.as_str()).collect();
                    Finding::wrong(TOPIC, format!("{who}: {}", faults.join("; ")))
                        .mended_by("dotward status shows each upstream and why it is set aside")
                }
            }
        }
        Err(ClientError::NotThere(path)) => Finding::note(
            TOPIC,
            format!("there is no control socket {}", path.display()),
        )
        .means("dotward does not run, or has its control socket elsewhere (--control)"),
        Err(ClientError::NobodyThere(path)) => Finding::note(
            TOPIC,
            format!("nobody answers at the control socket {}", path.display()),
        )
        .means("dotward does not run, or has its control socket elsewhere (--control)"),
        Err(error) => {
            let text = error.to_string();
            Finding::note(TOPIC, text.lines().next().unwrap_or_default())
        }
    })
}
