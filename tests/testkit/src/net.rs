//! The sockets of one node: a listener and connections, on a tokio runtime of their own.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::peer_handler::APeerManager;
use lightning_net_tokio::SocketDescriptor;
use tokio::runtime::{Builder, Runtime};

use crate::panics::ThreadTag;

/// A runtime that accepts connections for a peer manager, until it is shut down.
pub(crate) struct Net {
    runtime: Runtime,
    addr: SocketAddr,
}

impl Net {
    /// Listens on 127.0.0.1, on any free port if none is given.
    pub fn start<PM>(tag: &ThreadTag, port: Option<u16>, peer_manager: PM) -> Net
    where
        PM: Deref + Clone + Send + Sync + 'static,
        PM::Target: APeerManager<Descriptor = SocketDescriptor>,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(tag.thread("net"))
            .enable_all()
            .build()
            .expect("a runtime");
        let wanted = (Ipv4Addr::LOCALHOST, port.unwrap_or(0));
        let listener = TcpListener::bind(wanted)
            .unwrap_or_else(|e| panic!("cannot listen on {wanted:?}: {e}"));
        let addr = listener.local_addr().expect("a bound listener");
        listener.set_nonblocking(true).expect("a socket option");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
            while let Ok((stream, _)) = listener.accept().await {
                let stream = prompt(stream);
                tokio::spawn(lightning_net_tokio::setup_inbound(
                    peer_manager.clone(),
                    stream,
                ));
            }
        });
        Net { runtime, addr }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connects, and returns when `connected` holds. False if nobody listens, if the other side ends
    /// the connection before that (it does so while it believes in an older one), or after 5 s.
    pub fn dial<PM>(
        &self,
        peer_manager: PM,
        peer: PublicKey,
        addr: SocketAddr,
        connected: impl Fn() -> bool,
    ) -> bool
    where
        PM: Deref + Clone + Send + Sync + 'static,
        PM::Target: APeerManager<Descriptor = SocketDescriptor>,
    {
        let dialled = self.run(async move {
            let stream = tokio::net::TcpStream::connect(addr).await.ok()?;
            let stream = prompt(stream);
            let connection = lightning_net_tokio::setup_outbound(peer_manager, peer, stream);
            Some(tokio::spawn(connection))
        });
        let Some(connection) = dialled.flatten() else {
            return false;
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if connected() {
                return true;
            }
            if connection.is_finished() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Closes all sockets, at once: what was not sent yet is lost.
    pub fn cut(self) {
        self.runtime.shutdown_timeout(Duration::from_secs(2));
    }

    /// Runs a future on the node's own threads, so that a panic in it counts as the node's.
    fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            let _ = sender.send(future.await);
        });
        receiver.recv().ok()
    }
}

/// Without this a small message waits 40 ms for the acknowledgement of the one before.
fn prompt(stream: tokio::net::TcpStream) -> std::net::TcpStream {
    // An error means that the other side has gone already; that will be noticed soon enough.
    let _ = stream.set_nodelay(true);
    stream.into_std().expect("a tokio socket is a socket")
}
