//! What the commands do.

pub mod check;
pub mod version;
