//! The chain for nodes in other processes, over a loopback socket.
//!
//! A request is a `u32` length (little endian) and so many bytes: a byte that names the call, then
//! its arguments in Bitcoin's consensus encoding, a script or a string as a vector of bytes. The
//! reply is a length and the result in the same way; an optional result is a byte, 0 or 1, and then
//! the value, a failed one a byte 2 and the reason.

use std::io::{self, Cursor, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bitcoin::consensus::{Decodable, Encodable};
use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, ScriptBuf, Transaction, TxOut, Txid};
use lightning::chain::BestBlock;

use super::{Chain, ChainAccess, Spend};
use crate::lock::lock;

const TIP: u8 = 1;
const BLOCK: u8 = 2;
const FORK_POINT: u8 = 3;
const SUBMIT: u8 = 4;
const SPENDER: u8 = 5;
const TRANSACTION: u8 = 6;
const COINS: u8 = 7;
const PAY: u8 = 8;

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
const FAILED: u8 = 2;

/// Serves a [`Chain`] on 127.0.0.1 until it is dropped.
pub struct ChainServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    chain: Arc<Chain>,
    stopped: AtomicBool,
    clients: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl ChainServer {
    /// Starts serving on a free port.
    pub fn start(chain: &Arc<Chain>) -> ChainServer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            chain: Arc::clone(chain),
            stopped: AtomicBool::new(false),
            clients: Mutex::new(Vec::new()),
        });
        let thread = spawn("chain-server", {
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        ChainServer {
            addr,
            shared,
            thread: Some(thread),
        }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for ChainServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // The accepting thread sees the flag at the next connection: this one.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for (stream, thread) in lock(&self.shared.clients).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

/// The chain of a [`ChainServer`]. Panics when the server has gone.
pub struct RemoteChain {
    stream: Mutex<TcpStream>,
}

impl RemoteChain {
    /// Connects to [`ChainServer::addr`].
    pub fn connect(addr: SocketAddr) -> io::Result<Arc<RemoteChain>> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Arc::new(RemoteChain {
            stream: Mutex::new(stream),
        }))
    }

    fn call(&self, request: Vec<u8>) -> Cursor<Vec<u8>> {
        let mut stream = lock(&self.stream);
        write_frame(&mut stream, &request).expect("the chain server listens");
        Cursor::new(read_frame(&mut stream).expect("the chain server answers"))
    }
}

impl ChainAccess for RemoteChain {
    fn tip(&self) -> BestBlock {
        get_best(&mut self.call(vec![TIP]))
    }

    fn block(&self, height: u32) -> Option<Block> {
        let mut reply = self.call(request(BLOCK, |out| put(out, &height)));
        present(&mut reply).then(|| get(&mut reply))
    }

    fn fork_point(&self, hash: BlockHash) -> BestBlock {
        get_best(&mut self.call(request(FORK_POINT, |out| put(out, &hash))))
    }

    fn submit_as(&self, by: &str, tx: &Transaction) -> Result<Txid, String> {
        let mut reply = self.call(request(SUBMIT, |out| {
            put(out, &by.as_bytes().to_vec());
            put(out, tx);
        }));
        match get::<u8>(&mut reply) {
            PRESENT => Ok(get(&mut reply)),
            _ => Err(String::from_utf8_lossy(&get::<Vec<u8>>(&mut reply)).into_owned()),
        }
    }

    fn spender(&self, outpoint: OutPoint) -> Option<Spend> {
        get_spend(&mut self.call(request(SPENDER, |out| put(out, &outpoint))))
    }

    fn transaction(&self, txid: Txid) -> Option<Spend> {
        get_spend(&mut self.call(request(TRANSACTION, |out| put(out, &txid))))
    }

    fn coins(&self, script: &Script) -> Vec<(OutPoint, TxOut)> {
        let mut reply = self.call(request(COINS, |out| put(out, &script.to_owned())));
        let count: u32 = get(&mut reply);
        (0..count)
            .map(|_| (get(&mut reply), get(&mut reply)))
            .collect()
    }

    fn pay(&self, script: &Script, amounts: &[Amount]) -> Transaction {
        get(&mut self.call(request(PAY, |out| {
            put(out, &script.to_owned());
            put(out, &(amounts.len() as u32));
            for amount in amounts {
                put(out, &amount.to_sat());
            }
        })))
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(mut ours) = stream.try_clone() else {
            continue;
        };
        let chain = Arc::clone(&shared.chain);
        let thread = spawn("chain-client", move || {
            let _ = ours.set_nodelay(true);
            while let Ok(request) = read_frame(&mut ours) {
                if write_frame(&mut ours, &answer(&chain, request)).is_err() {
                    return;
                }
            }
        });
        lock(&shared.clients).push((stream, thread));
    }
}

fn answer(chain: &Chain, request: Vec<u8>) -> Vec<u8> {
    let mut input = Cursor::new(request);
    let mut out = Vec::new();
    match get::<u8>(&mut input) {
        TIP => put_best(&mut out, chain.tip()),
        BLOCK => match chain.block(get(&mut input)) {
            Some(block) => {
                out.push(PRESENT);
                put(&mut out, &block);
            }
            None => out.push(ABSENT),
        },
        FORK_POINT => put_best(&mut out, chain.fork_point(get(&mut input))),
        SUBMIT => {
            let by: Vec<u8> = get(&mut input);
            match chain.submit_as(&String::from_utf8_lossy(&by), &get(&mut input)) {
                Ok(txid) => {
                    out.push(PRESENT);
                    put(&mut out, &txid);
                }
                Err(e) => {
                    out.push(FAILED);
                    put(&mut out, &e.to_string().into_bytes());
                }
            }
        }
        SPENDER => put_spend(&mut out, chain.spender(get(&mut input))),
        TRANSACTION => put_spend(&mut out, chain.transaction(get(&mut input))),
        COINS => {
            let coins = chain.coins(&get::<ScriptBuf>(&mut input));
            put(&mut out, &(coins.len() as u32));
            for (outpoint, output) in coins {
                put(&mut out, &outpoint);
                put(&mut out, &output);
            }
        }
        PAY => {
            let script: ScriptBuf = get(&mut input);
            let count: u32 = get(&mut input);
            let amounts: Vec<_> = (0..count)
                .map(|_| Amount::from_sat(get(&mut input)))
                .collect();
            put(&mut out, &chain.pay_many(&script, &amounts));
        }
        other => panic!("a client of the chain made unknown call {other}"),
    }
    out
}

fn request(call: u8, arguments: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![call];
    arguments(&mut out);
    out
}

fn put(out: &mut Vec<u8>, value: &impl Encodable) {
    value
        .consensus_encode(out)
        .expect("memory takes everything");
}

fn get<T: Decodable>(input: &mut Cursor<Vec<u8>>) -> T {
    let position = input.position() as usize;
    let mut rest = &input.get_ref()[position..];
    let before = rest.len();
    let value = T::consensus_decode(&mut rest).expect("both ends are of the same build");
    let used = before - rest.len();
    input.set_position((position + used) as u64);
    value
}

fn present(input: &mut Cursor<Vec<u8>>) -> bool {
    get::<u8>(input) == PRESENT
}

fn put_best(out: &mut Vec<u8>, best: BestBlock) {
    put(out, &best.block_hash);
    put(out, &best.height);
}

fn get_best(input: &mut Cursor<Vec<u8>>) -> BestBlock {
    BestBlock::new(get(input), get(input))
}

fn put_spend(out: &mut Vec<u8>, spend: Option<Spend>) {
    let Some(spend) = spend else {
        out.push(ABSENT);
        return;
    };
    out.push(PRESENT);
    put(out, &spend.tx);
    put(out, &spend.height.is_some());
    put(out, &spend.height.unwrap_or(0));
}

fn get_spend(input: &mut Cursor<Vec<u8>>) -> Option<Spend> {
    if !present(input) {
        return None;
    }
    let tx = get(input);
    let confirmed: bool = get(input);
    let height: u32 = get(input);
    Some(Spend {
        tx,
        height: confirmed.then_some(height),
    })
}

fn write_frame(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(body);
    stream.write_all(&frame)
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(body).expect("the system gives threads")
}
