//! A wallet on a real ldk-node 0.7.1 that is backed up in sessions, lost, and recovered.

mod beside;
#[allow(dead_code)]
#[path = "../../../session/cable.rs"]
mod cable;
mod identity;
mod phone;
mod rescue;
mod stage;
#[path = "../../../support/mod.rs"]
mod support;
mod turns;
mod whole_way;

/// The words of the wallet that is lost.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";
