//! The commands, as they are written.

use serde::Deserialize;

/// One line of the standard input. What each does and answers: `README.md`.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    Start {
        name: String,
        peers: Vec<PeerSpec>,
    },
    NodeStart {},
    NodeStop {},
    NodeLost {},
    CopyNodeDir {},
    PutBackNodeDir {},
    OpenChannel {
        peer: String,
        sat: u64,
    },
    Pay {
        peer: String,
        msat: u64,
    },
    Receive {
        peer: String,
        msat: u64,
    },
    CloseChannel {
        peer: String,
    },
    Channels {},
    Mine {
        blocks: u32,
    },
    Tip {},
    Balance {
        address: String,
    },
    Closed {},
    WaitClosed {
        count: usize,
    },
    PeerStop {
        peer: String,
    },
    PeerStart {
        peer: String,
    },
    PeerKill {
        peer: String,
    },
    PeerSecret {
        peer: String,
    },
    Misbehave {
        peer: String,
        how: Misbehaviour,
    },
    Heard {
        peer: String,
    },
    WaitBackup {
        peer: String,
        #[serde(default = "one")]
        count: usize,
    },
    Esplora {
        works: bool,
    },
}

/// A peer of the wallet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSpec {
    pub name: String,
    pub kind: PeerKind,
}

/// What a peer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerKind {
    /// An LDK node with this project in it: keeps 65531 bytes.
    Ours,
    /// A stock LDK 0.2 node: keeps 1024 bytes.
    Stock,
    /// `peer-storage serve`: keeps 65531 bytes, and has no channels.
    Storer,
}

/// What a peer does with the backup that it keeps for the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misbehaviour {
    Remembers,
    RollsBack,
    Forgets,
    Garbles,
}

impl Command {
    pub fn read(line: &str) -> Result<Command, String> {
        serde_json::from_str(line).map_err(|error| format!("no command: {error}"))
    }
}

fn one() -> usize {
    1
}
