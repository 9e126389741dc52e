//! The driver by itself, over real sockets, with a sender that keeps LDK's side of the contract.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lightning::ln::peer_handler::SocketDescriptor;

use crate::session::socket::{drive, EndedBy, Manager, Socket};

/// Sends what it has, as LDK does: no further before there is space again.
#[derive(Default)]
struct Sender {
    left: Mutex<Vec<u8>>,
    read: Mutex<usize>,
    /// So many bytes are sent for each that comes.
    echoes: usize,
}

impl Sender {
    fn send(&self, socket: &mut Socket) {
        let mut left = self.left.lock().unwrap();
        let keeps_up = left.len() < 1 << 20;
        let sent = socket.send_data(&left, keeps_up);
        left.drain(..sent);
    }
}

impl Manager for Sender {
    fn read(&self, socket: &mut Socket, bytes: &[u8]) -> bool {
        *self.read.lock().unwrap() += bytes.len();
        if self.echoes > 0 {
            let echo = vec![7; bytes.len() * self.echoes];
            self.left.lock().unwrap().extend(echo);
            self.send(socket);
        }
        true
    }

    fn space(&self, socket: &mut Socket) {
        self.send(socket);
    }

    fn ended(&self, _socket: &Socket) {}
}

/// Both ends of a connection: ours for tokio, the peer's for a thread.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, peer)
}

fn block_on<T>(future: impl std::future::Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// Sends all this and ends. Whether that was in order, and how long it took.
fn send_and_end(ours: TcpStream, sender: Arc<Sender>, linger: Duration) -> (bool, Duration) {
    block_on(async {
        let stream = tokio::net::TcpStream::from_std(ours).unwrap();
        let mut socket = Socket::new();
        sender.send(&mut socket);
        let driver = tokio::spawn(drive(socket.clone(), stream, sender, linger));
        let drained = tokio::time::timeout(linger, socket.drained());
        let _ = drained.await;
        let begun = Instant::now();
        socket.end(EndedBy::Us);
        (driver.await.unwrap(), begun.elapsed())
    })
}

#[test]
fn all_that_was_handed_over_arrives_before_the_end() {
    for _ in 0..20 {
        let (ours, mut peer) = connection();
        let message: Vec<u8> = (0..600_000).map(|n| (n % 251) as u8).collect();
        let sender = Sender {
            left: Mutex::new(message.clone()),
            ..Sender::default()
        };
        // The peer talks on while we end, and reads late. A reset would cost it what it has not read.
        let peer = std::thread::spawn(move || {
            let mut begun = [0; 1];
            peer.read_exact(&mut begun).unwrap();
            let mut talker = peer.try_clone().unwrap();
            let talk = std::thread::spawn(move || {
                for _ in 0..200 {
                    talker.write_all(&[1; 10_000]).unwrap();
                }
            });
            talk.join().unwrap();
            let mut read = begun.to_vec();
            peer.read_to_end(&mut read).unwrap();
            read
        });
        let (in_order, _) = send_and_end(ours, Arc::new(sender), Duration::from_secs(30));
        assert_eq!(peer.join().unwrap().len(), message.len());
        assert!(in_order);
    }
}

#[test]
fn a_peer_that_never_reads_stalls_the_end_no_longer_than_the_deadline() {
    let (ours, peer) = connection();
    let sender = Sender {
        left: Mutex::new(vec![1; 50_000_000]),
        ..Sender::default()
    };
    let linger = Duration::from_millis(300);
    let (in_order, took) = send_and_end(ours, Arc::new(sender), linger);
    assert!(!in_order);
    assert!(took >= linger && took < linger + Duration::from_secs(5));
    drop(peer);
}

#[test]
fn a_peer_that_never_closes_stalls_the_end_no_longer_than_the_deadline() {
    let (ours, mut peer) = connection();
    let flood = std::thread::spawn(move || while peer.write_all(&[1; 4096]).is_ok() {});
    let linger = Duration::from_millis(300);
    let (in_order, took) = send_and_end(ours, Arc::default(), linger);
    assert!(!in_order);
    assert!(took >= linger && took < linger + Duration::from_secs(5));
    flood.join().unwrap();
}

#[test]
fn a_peer_that_sends_without_end_and_reads_nothing_is_not_read_any_further() {
    let (ours, mut peer) = connection();
    let sender = Arc::new(Sender {
        echoes: 64,
        ..Sender::default()
    });
    let handle = sender.clone();
    let blocked = std::thread::spawn(move || {
        let patience = Some(Duration::from_secs(1));
        peer.set_write_timeout(patience).unwrap();
        let mut written = 0;
        while let Ok(count) = peer.write(&[1; 65_536]) {
            written += count;
            assert!(written < 1 << 30, "it is read without end");
        }
        peer
    });
    block_on(async {
        let stream = tokio::net::TcpStream::from_std(ours).unwrap();
        let socket = Socket::new();
        let driver = tokio::spawn(drive(socket.clone(), stream, sender, Duration::ZERO));
        while !blocked.is_finished() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        socket.end(EndedBy::Us);
        driver.await.unwrap();
    });
    drop(blocked.join().unwrap());
    // One chunk more than what LDK had wanted to hear: it holds a multiple of that.
    let (read, left) = (
        *handle.read.lock().unwrap(),
        handle.left.lock().unwrap().len(),
    );
    assert!(read > 0);
    assert!(left <= (1 << 20) + 2 * 64 * 4096, "{left} bytes wait");
}

#[test]
fn the_end_of_the_peer_is_noticed_and_what_waits_is_still_written() {
    let (ours, mut peer) = connection();
    let sender = Arc::new(Sender {
        left: Mutex::new(vec![3; 20_000]),
        ..Sender::default()
    });
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let socket = Socket::new();
    let in_order = block_on(async {
        let stream = tokio::net::TcpStream::from_std(ours).unwrap();
        sender.send(&mut socket.clone());
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            peer.read_to_end(&mut read).unwrap();
            read.len()
        });
        let in_order = drive(socket.clone(), stream, sender, Duration::from_secs(30)).await;
        assert_eq!(reader.join().unwrap(), 20_000);
        in_order
    });
    assert!(in_order);
    assert_eq!(socket.ended_by(), Some(EndedBy::Peer));
}
