//! One connection.
use tokio::{net::TcpStream, sync::watch};

use crate::server::{Orders, Shared};

pub(crate) fn reset(socket: TcpStream) {
    drop(socket.set_zero_linger());
}
pub(crate) async fn run(s: TcpStream, _n: u64, mut o: watch::Receiver<Orders>, _sh: &Shared) {
    drop(s);
    drop(o.changed().await);
}
