//! HTTP on the admin listener.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::board::Board;
use super::{health, metrics};
use crate::config::ReadyRequires;
use crate::limits::{
    ACCEPT_PAUSE, ADMIN_BUFFER, ADMIN_CONNECTION, ADMIN_CONNECTIONS, ADMIN_HEADER, UPSTREAM_LOOK,
    WORKER_STUCK,
};
use crate::service;

const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "dotward\n\n/metrics   for Prometheus\n/livez     200 while every worker turns\n/readyz    200 \
                     while queries are taken and can be answered\n/healthz   both in detail, as JSON\n";

/// Serves until told to stop.
pub(super) fn run(
    listener: Option<std::net::TcpListener>,
    board: &Arc<Board>,
    watchdog: Option<Duration>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if let Some(within) = watchdog {
            tokio::spawn(feed_watchdog(Arc::clone(board), within));
        }
        let serving = async {
            let Some(listener) = listener else {
                return std::future::pending().await;
            };
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(look_at_upstreams(Arc::clone(board)));
            accept(&listener, board).await;
            Ok::<_, io::Error>(())
        };
        tokio::select! {
            served = serving => served?,
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        Ok(())
    })
}

/// Tells the service manager that all workers turn, twice as often as it has to be told.
async fn feed_watchdog(board: Arc<Board>, within: Duration) {
    loop {
        board.report().await;
        if board.alive().iter().all(|alive| *alive) {
            service::tell_alive();
        }
        tokio::time::sleep(within / 2).await;
    }
}

/// Keeps upstreams asked while readiness depends on what they answer.
async fn look_at_upstreams(board: Arc<Board>) {
    let mut pause = UPSTREAM_LOOK;
    loop {
        match board.ready_requires {
            ReadyRequires::Upstream => {}
            ReadyRequires::Start => {
                // Somebody may have asked a question in the meantime.
                board.report().await;
                if board.is_verified() {
                    return;
                }
                pause = (pause * 2).min(WORKER_STUCK);
            }
        }
        board.look_at_upstreams().await;
        tokio::time::sleep(pause).await;
    }
}

async fn accept(listener: &TcpListener, board: &Arc<Board>) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    // Never closed, so that a place always comes.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                tokio::spawn(serve(socket, Arc::clone(board), place));
            }
            Err(error) => {
                tracing::debug!(%error, "accepting on the admin listener failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(socket: TcpStream, board: Arc<Board>, place: OwnedSemaphorePermit) {
    let service = service_fn(move |request: Request<Incoming>| {
        let board = Arc::clone(&board);
        async move { Ok::<_, Infallible>(answer(&request, &board).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_HEADER)
        .max_buf_size(ADMIN_BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    match tokio::time::timeout(ADMIN_CONNECTION, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection of the admin listener failed"),
    }
    drop(place);
}

async fn answer(request: &Request<Incoming>, board: &Board) -> Response<Full<Bytes>> {
    // To HEAD, which servers have to know as well (RFC 9110 section 9.1), hyper sends the header of this response and not its content.
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "GET and HEAD only\n".to_owned(),
        );
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => text(StatusCode::OK, INDEX.to_owned()),
        "/metrics" => {
            let report = board.report().await;
            let form = metrics::Form::accepted(request.headers().get(ACCEPT));
            match report {
                Some(report) => {
                    let page = metrics::page(board, report, form);
                    respond(StatusCode::OK, form.content_type(), page)
                }
                None => verdict(Err("a worker does not answer")),
            }
        }
        "/livez" => {
            board.report().await;
            let alive = board.alive().iter().all(|alive| *alive);
            verdict(alive.then_some(()).ok_or("a worker does not turn"))
        }
        "/readyz" => {
            let report = board.report().await;
            let ready = health::readiness(board, report.as_ref());
            verdict(ready.map_err(health::Unready::text))
        }
        "/healthz" => {
            let report = board.report().await;
            let detail = health::detail(board, report.as_ref());
            let alive = detail.get("live") == Some(&serde_json::Value::Bool(true));
            let body = format!("{detail:#}\n");
            respond(status(alive), "application/json", body)
        }
        _ => text(StatusCode::NOT_FOUND, INDEX.to_owned()),
    }
}

fn verdict(good: Result<(), &str>) -> Response<Full<Bytes>> {
    match good {
        Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn status(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    respond(status, TEXT, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let sniff = HeaderName::from_static("x-content-type-options");
    headers.insert(sniff, HeaderValue::from_static("nosniff"));
    response
}
