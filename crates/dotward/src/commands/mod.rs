//! What the commands do.

mod cache;
pub mod check;
pub mod choose;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod generated;
pub mod healthcheck;
pub mod list;
pub mod query;
pub mod records;
pub mod remote;
pub mod setup;
pub mod show;
mod status;
pub mod survey;
pub mod top;
pub mod version;
