//! Notices that the way to an upstream changed: another address of ours, another router, another interface, a link that was down.
//!
//! News from the kernel (netlink) are only a hint. After a volley of them the kernel is asked for the way to each upstream
//! ([`picture`]), and only when one of those is another than before, or its interface lost its link in between, is the engine told. So
//! containers that come and go, lifetimes that are renewed, and routes to elsewhere change nothing.
//!
//! Promises: idle without news; where netlink is not to be had (sandboxes, other systems) this is off, with one line at debug.
//!
//! All news, and what the clocks say, wake those who could not reach anybody before ([`news`]).
//!
//! Apart from that, [`interfaces`] tells which addresses an interface has, and when it may have others.
//!
//! Deliberately absent: what a change means (`dotward_core::engine::Engine::handle_network_change`). A machine that slept
//! is noticed by its clocks (`clock`).

pub(crate) mod interfaces;
#[cfg(target_os = "linux")]
mod netlink;
pub(crate) mod news;
#[cfg(target_os = "linux")]
mod picture;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
pub(crate) use watch::start;

/// Without netlink nothing is noticed.
#[cfg(not(target_os = "linux"))]
pub(crate) fn start(_: &std::rc::Rc<crate::worker::Worker>) {
    tracing::debug!("changes of the network are not noticed on this system");
}
