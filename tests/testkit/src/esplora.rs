//! The HTTP API of Esplora over a [`Chain`], on 127.0.0.1, with faults on demand.
//!
//! It serves what wallets ask (this project's chain source, `lightning-transaction-sync`, ldk-node and
//! BDK), as [Blockstream's documentation][api] describes it: JSON with the names and kinds there,
//! plain text and hex elsewhere, 404 for what is not there, 50 unconfirmed transactions and pages
//! of 25 in a script's history, 400 with the node's words for a transaction that is refused.
//!
//! As with Blockstream's server, a block that a reorganisation has removed is not found, but for its
//! `status`, and a transaction that nobody knows has the status "not confirmed" and unspent outputs.
//!
//! [api]: https://github.com/Blockstream/esplora/blob/master/API.md

mod api;
mod body;
mod fault;
mod json;
mod lie;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::block::Header;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::runtime::{Builder, Runtime};

use crate::chain::Chain;
use crate::lock::lock;
use body::Body;

pub use fault::Fault;

/// In whose name transactions that come in are [submitted](Chain::submit_as).
pub const SUBMITTER: &str = "esplora";

/// Where a status of 300 to 399 sends clients, on the same server.
pub const ELSEWHERE: &str = "/elsewhere";

/// Serves a [`Chain`] until it is dropped.
pub struct EsploraServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    chain: Arc<Chain>,
    fees: Mutex<BTreeMap<u16, f64>>,
    faults: Mutex<Vec<Planned>>,
    requests: Mutex<Vec<String>>,
    headers: Mutex<BTreeSet<String>>,
    /// Headers that stand in no chain: see [`Fault::NoWork`].
    forged: Mutex<Vec<Header>>,
}

/// A fault, and when it strikes.
struct Planned {
    part_of_path: String,
    fault: Fault,
    times_left: u32,
}

impl EsploraServer {
    /// Starts serving on a free port.
    pub fn start(chain: &Arc<Chain>) -> EsploraServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a bound listener");
        listener.set_nonblocking(true).expect("a socket option");
        let shared = Arc::new(Shared {
            chain: Arc::clone(chain),
            fees: Mutex::new(BTreeMap::from([(1, 10.0), (3, 5.5), (6, 3.0), (144, 1.0)])),
            faults: Mutex::default(),
            requests: Mutex::default(),
            headers: Mutex::default(),
            forged: Mutex::default(),
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("esplora")
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        EsploraServer {
            addr,
            shared,
            runtime: Some(runtime),
        }
    }

    /// What clients are given: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The fee estimates from now on: satoshi for a virtual byte, by the number of blocks.
    pub fn set_fees(&self, fees: impl IntoIterator<Item = (u16, f64)>) {
        *lock(&self.shared.fees) = fees.into_iter().collect();
    }

    /// From now on has this fault with every request.
    pub fn break_with(&self, fault: Fault) {
        self.break_at("", fault);
    }

    /// From now on has this fault with every request whose path contains this. Where several faults
    /// fit, the first counts.
    pub fn break_at(&self, part_of_path: &str, fault: Fault) {
        self.plan(part_of_path, fault, u32::MAX);
    }

    /// Has this fault with the next request whose path contains this, and then no longer.
    pub fn break_once_at(&self, part_of_path: &str, fault: Fault) {
        self.plan(part_of_path, fault, 1);
    }

    fn plan(&self, part_of_path: &str, fault: Fault, times_left: u32) {
        lock(&self.shared.faults).push(Planned {
            part_of_path: part_of_path.to_owned(),
            fault,
            times_left,
        });
    }

    /// From now on has no fault. Who is being stalled stays so.
    pub fn repair(&self) {
        lock(&self.shared.faults).clear();
    }

    /// All requests so far, as `GET /blocks/tip/hash`.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }

    /// The names of all headers that requests had so far.
    pub fn headers(&self) -> BTreeSet<String> {
        lock(&self.shared.headers).clone()
    }
}

impl Drop for EsploraServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}

/// What is said to one request.
struct Answer {
    status: u16,
    body: Vec<u8>,
    content_type: &'static str,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| respond(Arc::clone(&shared), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // How a connection ends concerns its client.
        tokio::spawn(async move { drop(connection.await) });
    }
}

/// An error closes the connection without an answer.
async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    lock(&shared.requests).push(format!("{} {path}", head.method));
    let names = head.headers.keys().map(ToString::to_string);
    lock(&shared.headers).extend(names);
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();

    let fault = shared.fault_at(&path);
    let answer = match fault {
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Close) => return Err(Closed),
        Some(Fault::Endless) => return Ok(Response::new(Body::endless())),
        Some(Fault::Drip) => return Ok(Response::new(Body::drip())),
        Some(Fault::Answer(status, body)) => Answer {
            status,
            body,
            content_type: "text/plain",
        },
        lie => shared.answer(&head.method, &path, &body, lie),
    };
    let mut response = Response::builder()
        .status(answer.status)
        .header("content-type", answer.content_type);
    if (300..400).contains(&answer.status) {
        response = response.header("location", ELSEWHERE);
    }
    let response = response.body(Body::whole(answer.body));
    Ok(response.expect("a plain response"))
}

impl Shared {
    fn fault_at(&self, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let mut here = faults
            .iter_mut()
            .filter(|planned| planned.times_left > 0 && path.contains(&planned.part_of_path));
        here.next().map(|planned| {
            planned.times_left -= 1;
            planned.fault.clone()
        })
    }
}

#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed on purpose")
    }
}

impl std::error::Error for Closed {}
