//! The network changes: addresses come and go in name spaces made for the test. Needs root and `ip`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dotward::config::ListenTransport;
use dotward_faults::{Config, Mode, Running, Server};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::{NAME, Trust, ask_udp, config, start, within};

/// Two name spaces with a cable between them: `near` with 10.213.0.1, `far` with 10.213.0.2. Gone when dropped.
pub(crate) struct Cable {
    pub(crate) near: String,
    pub(crate) far: String,
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| format!("ip {arguments}: {complaint}"))
}

impl Cable {
    /// `purpose` tells it from those of other tests at the same time.
    pub(crate) fn new(purpose: &str) -> Result<Self, String> {
        let number = std::process::id();
        let cable = Self {
            near: format!("dotward-{purpose}-near-{number}"),
            far: format!("dotward-{purpose}-far-{number}"),
        };
        let Self { near, far } = &cable;
        for arguments in [
            format!("netns add {near}"),
            format!("netns add {far}"),
            format!("-n {near} link add near0 type veth peer name far0 netns {far}"),
            format!("-n {near} addr add 10.213.0.1/24 dev near0"),
            format!("-n {far} addr add 10.213.0.2/24 dev far0"),
            format!("-n {near} link set lo up"),
            format!("-n {near} link set near0 up"),
            format!("-n {far} link set far0 up"),
        ] {
            ip(&arguments)?;
        }
        Ok(cable)
    }

    fn far(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.far)).unwrap();
    }

    pub(crate) fn near(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.near)).unwrap();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            match ip(&format!("netns del {name}")) {
                // One that was never made cannot be deleted.
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Moves this thread, and those it starts, into a name space.
pub(crate) fn enter(name: &str) {
    let file = std::fs::File::open(Path::new("/run/netns").join(name)).unwrap();
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).unwrap();
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A server at the far end, on a thread of its own until the sender is dropped.
fn far_server(cable: &Cable, trust: &Trust) -> (Running, tokio::sync::oneshot::Sender<()>) {
    let (give, server) = std::sync::mpsc::sync_channel(1);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (far, ca) = (cable.far.clone(), trust.ca.clone());
    std::thread::spawn(move || {
        enter(&far);
        runtime().block_on(async {
            let mut config = Config::new(&ca, NAME);
            config.mode = Mode::default();
            config.address = SocketAddr::from(([10, 213, 0, 2], 0));
            give.send(Server::start(config).unwrap()).unwrap();
            drop(stopped.await);
        });
    });
    (server.recv().unwrap(), stop)
}

#[test]
fn a_change_of_address_renews_connections_at_once_and_noise_does_not() {
    let cable = match Cable::new("ways") {
        Ok(cable) => cable,
        Err(reason) => {
            eprintln!("skipped: no network name spaces here: {reason}");
            return;
        }
    };
    // The name space belongs to the thread.
    std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            enter(&cable.near);
            runtime().block_on(change_address(&cable));
        });
        watched.join().unwrap();
    });
}

async fn change_address(cable: &Cable) {
    let trust = Trust::new();
    let (server, _stop) = far_server(cable, &trust);
    let proxy = start(config(vec![trust.upstream(&server)]));
    let to = proxy.address(ListenTransport::Udp).unwrap();
    assert!(ask_udp(to, "first.example").await.is_good());

    make_noise(cable, &server, to).await;
    change_ways(cable, &server, to).await;
    lose_the_link(cable, &server, to).await;
    drop(proxy);
}

/// Containers and tunnels to elsewhere.
async fn make_noise(cable: &Cable, server: &Running, to: SocketAddr) {
    cable.near("addr add 127.0.0.5/8 dev lo");
    cable.near("link add other0 type veth peer name other1");
    cable.near("addr add 10.214.0.1/24 dev other0");
    cable.near("link set other0 up");
    cable.near("link set other1 up");
    cable.near("route add 10.215.0.0/24 dev other0");
    cable.near("addr add 10.213.0.5/24 dev near0");
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    for number in 0..50 {
        assert!(ask_udp(to, &format!("n{number}.example")).await.is_good());
        pause.tick().await;
    }
    // Another may join it where the machine stands still for a moment; it is given up for none of this.
    let counters = server.counters();
    assert!(counters.connections[0].open, "{counters:?}");
}

async fn change_ways(cable: &Cable, server: &Running, to: SocketAddr) {
    // A more exact route changes the way and breaks nothing.
    let before = server.counters();
    cable.near("route add 10.213.0.2/32 dev near0 src 10.213.0.5");
    let more = within(server.wait_for_handshakes(before.handshakes_completed + 1))
        .await
        .unwrap();

    cable.near("addr flush dev near0");
    cable.near("addr add 10.213.0.7/24 dev near0");
    let back = std::time::Instant::now();
    // Nobody asks: the probe is the proxy's own.
    let counters = within(server.wait_for_handshakes(more.handshakes_completed + 1))
        .await
        .unwrap();
    assert!(
        back.elapsed() < Duration::from_secs(1),
        "{:?}",
        back.elapsed()
    );
    let mut since = counters.connections.iter().skip(before.connections.len());
    assert!(since.all(|it| it.ticket.is_none()), "{counters:?}");
    assert!(ask_udp(to, "last.example").await.is_good());
}

async fn lose_the_link(cable: &Cable, server: &Running, to: SocketAddr) {
    let before = server.counters();
    cable.far("link set far0 down");
    assert!(!ask_udp(to, "nobody.example").await.is_good());
    cable.far("link set far0 up");
    let back = std::time::Instant::now();
    within(server.wait_for_handshakes(before.handshakes_completed + 1))
        .await
        .unwrap();
    assert!(
        back.elapsed() < Duration::from_secs(1),
        "{:?}",
        back.elapsed()
    );
    assert!(ask_udp(to, "truly-last.example").await.is_good());
}
