//! A storer that has no channels: `peer-storage serve`, a process of its own that listens on the same port all its
//! life.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitcoin::hex::DisplayHex;
use bitcoin::secp256k1::PublicKey;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use testkit::{wait_until, NodeConfig, DEADLINE};

use crate::guard::Guarded;

/// What cargo puts beside this program, from the package `peer-storage-cli`.
const PROGRAM: &str = "peer-storage";

pub struct Storer {
    pub id: PublicKey,
    pub addr: SocketAddr,
    dir: PathBuf,
    owner: PublicKey,
    running: Option<Guarded>,
    /// What it kept when that was last waited for.
    seen: Option<Kept>,
}

/// Length and checksum of a backup.
type Kept = (i64, i64);

impl Storer {
    /// With the seed of this configuration, keeping backups for `owner` alone.
    pub fn start(config: &NodeConfig, owner: PublicKey) -> Storer {
        std::fs::create_dir_all(&config.dir).expect("a directory");
        let seed = format!("{}\n", config.seed.to_lower_hex_string());
        std::fs::write(seed_file(&config.dir), seed).expect("a writable directory");
        let (running, id, addr) = serve(&config.dir, owner, "127.0.0.1:0");
        Storer {
            id,
            addr,
            dir: config.dir.clone(),
            owner,
            running: Some(running),
            seen: None,
        }
    }

    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the peer runs already");
        let (running, id, addr) = serve(&self.dir, self.owner, &self.addr.to_string());
        assert_eq!((id, addr), (self.id, self.addr));
        self.running = Some(running);
    }

    /// In order.
    pub fn stop(&mut self) {
        self.take().stop();
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        self.take().kill();
    }

    /// Until there is on its disk what was not there when this was last waited for. Only what is there
    /// outlives a `kill -9`.
    pub fn wait_backup(&mut self) {
        wait_until("a backup to be written", DEADLINE, || {
            let kept = self.kept();
            kept.is_some() && kept != self.seen
        });
        self.seen = self.kept();
    }

    fn take(&mut self) -> Guarded {
        self.running.take().expect("the peer runs")
    }

    /// Read beside the process, which may be writing.
    fn kept(&self) -> Option<Kept> {
        let file = data_dir(&self.dir).join("peer-storage.sqlite");
        let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let database = database.expect("a database");
        let slot = database.query_row(
            "SELECT len, crc32 FROM slots WHERE peer = ?",
            [self.owner.serialize()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        slot.optional().expect("a table of slots")
    }
}

/// Returns when it listens, and who and where it is.
fn serve(dir: &Path, owner: PublicKey, listen: &str) -> (Guarded, PublicKey, SocketAddr) {
    let program = std::env::current_exe().expect("this program");
    let program = program.with_file_name(PROGRAM);
    assert!(
        program.exists(),
        "no {PROGRAM} beside this program: cargo build -p peer-storage-cli"
    );
    let args: [OsString; 11] = [
        "serve".into(),
        "--network".into(),
        "regtest".into(),
        "--seed-file".into(),
        seed_file(dir).into(),
        "--data-dir".into(),
        data_dir(dir).into(),
        "--listen".into(),
        listen.into(),
        "--allow".into(),
        owner.to_string().into(),
    ];
    let mut running = Guarded::start(&program, &args);
    let line = running.line().expect("a storer that runs");
    let at = line.strip_prefix("listening ").expect("its first line");
    let (id, addr) = at.split_once('@').expect("NODEID@ADDRESS");
    let id = id.parse().expect("a node id");
    (running, id, addr.parse().expect("an address"))
}

fn seed_file(dir: &Path) -> PathBuf {
    dir.join("seed")
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("storage")
}
