//! The driver of one connection: reads, asks the conversation, writes, and ends as told.
//!
//! Promises: reading goes on while a slow write is under way, up to [`limits::OUTPUTS_QUEUED`] responses; FIN is not
//! turned into RST by unread octets, because they are read for [`limits::LINGER`] after it.
//!
//! Not here: every decision about queries and time (`conversation`).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::conversation::{Conversation, Output};
use crate::limits;
use crate::mode::Ending;
use crate::opening::{self, Opened};
use crate::server::{Orders, Shared};
use crate::tap::Records;

/// A stream of octets with a socket underneath.
trait Line: AsyncRead + AsyncWrite + Unpin {
    /// Whether it is encrypted.
    const TLS: bool;

    /// The socket, for an end that TLS does not see.
    fn into_socket(self) -> TcpStream;
}

impl Line for Records {
    const TLS: bool = true;

    fn into_socket(self) -> TcpStream {
        Self::into_socket(self)
    }
}

impl Line for TcpStream {
    const TLS: bool = false;

    fn into_socket(self) -> TcpStream {
        self
    }
}

/// Where a connection belongs.
struct Place<'a> {
    number: u64,
    orders: watch::Receiver<Orders>,
    shared: &'a Shared,
}

/// Ends a connection with RST.
pub(crate) fn reset(socket: &TcpStream) {
    // Without the option the end is a FIN, which is all that a socket in this state still allows.
    drop(socket.set_zero_linger());
}

/// Serves a connection from its accept to its end.
pub(crate) async fn run(
    socket: TcpStream,
    number: u64,
    mut orders: watch::Receiver<Orders>,
    shared: &Shared,
) {
    // Nagle's algorithm would join what the mode wants apart; without the option the server is merely less strict.
    drop(socket.set_nodelay(true));
    let mode = orders.borrow().mode.clone();
    let opened = tokio::select! {
        opened = opening::open(socket, number, &mode, shared) => opened,
        () = told_to_close(&mut orders) => Opened::Over,
    };
    let place = Place {
        number,
        orders,
        shared,
    };
    match opened {
        Opened::Tls(stream) => converse(Records(*stream), place).await,
        Opened::Clear(socket) => converse(socket, place).await,
        Opened::Over => shared.dismiss(number),
    }
}

async fn told_to_close(orders: &mut watch::Receiver<Orders>) {
    if orders
        .wait_for(|orders| orders.close.is_some())
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

async fn converse<S: Line>(stream: S, mut place: Place<'_>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (sender, receiver) = mpsc::channel(limits::OUTPUTS_QUEUED);
    let (shared, number) = (place.shared, place.number);
    let ending = tokio::select! {
        () = listen(&mut reader, sender, &mut place) => None,
        ending = speak(&mut writer, receiver, &shared.book, number) => ending,
    };
    // An error here means that the client was quicker to end the connection.
    drop(end(reader.unsplit(writer), ending, &place).await);
}

/// Reads queries and hands on outputs until the client ends the connection.
async fn listen<S: Line>(
    reader: &mut ReadHalf<S>,
    sender: mpsc::Sender<Output>,
    place: &mut Place<'_>,
) {
    let shared = place.shared;
    let first = place.orders.borrow_and_update().clone();
    let mut conversation = Conversation::new(&shared.book, place.number, &first, Instant::now());
    let mut buffer = vec![0; limits::READ_OCTETS];
    loop {
        while let Some(output) = conversation.due(Instant::now()) {
            let last = output.then.is_some();
            if sender.send(output).await.is_err() || last {
                // The writer ends the connection, and with it this loop.
                return std::future::pending().await;
            }
        }
        let wake = conversation.next_moment();
        tokio::select! {
            read = reader.read(&mut buffer), if conversation.may_read() => match read {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    note_read::<S>(read, place);
                    conversation.take(&buffer[..read], Instant::now());
                }
            },
            () = sleep_until(wake) => {}
            Ok(()) = place.orders.changed() => {
                let orders = place.orders.borrow_and_update().clone();
                conversation.obey(&orders, Instant::now());
            }
        }
    }
}

fn note_read<S: Line>(read: usize, place: &Place<'_>) {
    if !S::TLS {
        return opening::note_clear(place.number, place.shared, read);
    }
    let octets = u64::try_from(read).unwrap_or(u64::MAX);
    place.shared.book.note(place.number, |counters, record| {
        counters.octets_after_handshake += octets;
        counters.records += 1;
        record.records += 1;
    });
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Writes outputs until one of them ends the connection; `None` when the client ended it.
async fn speak<S: Line>(
    writer: &mut WriteHalf<S>,
    mut receiver: mpsc::Receiver<Output>,
    book: &crate::counters::Book,
    number: u64,
) -> Option<Ending> {
    while let Some(mut output) = receiver.recv().await {
        while output.coalesce
            && output.then.is_none()
            && let Ok(further) = receiver.try_recv()
        {
            join(&mut output, further);
        }
        write(writer, &output).await.ok()?;
        book.note(number, |counters, record| {
            counters.responses += output.responses;
            record.responses += output.responses;
        });
        if output.then.is_some() {
            return output.then;
        }
    }
    std::future::pending().await
}

/// Makes one piece of two outputs, as long as it fits into one record.
fn join(output: &mut Output, further: Output) {
    output.responses += further.responses;
    output.then = further.then;
    output.coalesce = further.coalesce;
    for piece in further.pieces {
        match output.pieces.last_mut() {
            Some(last) if last.octets.len() + piece.octets.len() <= limits::COALESCED_OCTETS => {
                last.octets.extend(piece.octets);
            }
            Some(_) | None => output.pieces.push(piece),
        }
    }
}

/// Writes each piece as a record of its own, sent before the next one is begun.
async fn write<S: Line>(writer: &mut WriteHalf<S>, output: &Output) -> io::Result<()> {
    for piece in &output.pieces {
        writer.write_all(&piece.octets).await?;
        writer.flush().await?;
        if piece.pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(piece.pause).await;
        }
    }
    Ok(())
}

/// Ends the connection and writes that down before waiting for the client's side of it.
async fn end<S: Line>(mut stream: S, ending: Option<Ending>, place: &Place<'_>) -> io::Result<()> {
    let farewell = match ending {
        None | Some(Ending::Notify) => stream.shutdown().await,
        Some(Ending::Fin | Ending::Reset) => Ok(()),
    };
    let mut socket = stream.into_socket();
    match ending {
        Some(Ending::Reset) => {
            reset(&socket);
            drop(socket);
            place.shared.dismiss(place.number);
            return farewell;
        }
        Some(Ending::Fin | Ending::Notify) => socket.shutdown().await?,
        None => {}
    }
    place.shared.dismiss(place.number);
    let mut rest = vec![0; limits::READ_OCTETS];
    let drained = async { while matches!(socket.read(&mut rest).await, Ok(1..)) {} };
    // A client that keeps its side open past the bound gets no more attention.
    drop(tokio::time::timeout(limits::LINGER, drained).await);
    farewell
}
