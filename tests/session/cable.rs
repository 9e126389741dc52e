//! What lies between a node and its peer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Fast,
    /// A few hundred KiB a second, with no room for what waits.
    Slow,
}

/// Carries bytes both ways, for any number of connections, until it is cut: then it swallows them, and
/// ends nothing.
pub struct Cable {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_cut: AtomicBool,
    connections: AtomicUsize,
}

impl Cable {
    pub fn to(target: SocketAddr, line: Line) -> Cable {
        let listener = listen(line);
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let carrying = shared.clone();
        std::thread::spawn(move || {
            while let Ok((here, _)) = listener.accept() {
                carrying.connections.fetch_add(1, Ordering::SeqCst);
                let there = TcpStream::connect(target).unwrap();
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let shared = carrying.clone();
                    std::thread::spawn(move || carry(from, to, line, &shared.is_cut));
                }
            }
        });
        Cable { addr, shared }
    }

    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

fn listen(line: Line) -> TcpListener {
    if line == Line::Fast {
        return TcpListener::bind("127.0.0.1:0").unwrap();
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let _inside = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    listener
}

fn carry(mut from: TcpStream, mut to: TcpStream, line: Line, is_cut: &AtomicBool) {
    let mut chunk = [0; 2048];
    loop {
        let count = from.read(&mut chunk).unwrap_or(0);
        if is_cut.load(Ordering::SeqCst) {
            if count == 0 {
                // The other end is to go on believing.
                std::mem::forget((from, to));
                return;
            }
            continue;
        }
        if count == 0 || to.write_all(&chunk[..count]).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        if line == Line::Slow {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
