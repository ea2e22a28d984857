//! stub
use std::rc::Rc;
use crate::{config::Config, worker::Worker};
pub(crate) fn start(_worker: &Rc<Worker>, _config: &Config) {}
