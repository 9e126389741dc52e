//! From a file or a hidden prompt to the identity of a node. Never from an argument or the environment:
//! other users of the machine can see those, and shells write them down.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use bitcoin::hex::FromHex;
use bitcoin::Network;
use ldk_peer_storage::recovery::Identity;
use zeroize::{Zeroize, Zeroizing};

use crate::args::IdentityArgs;
use crate::failure::Failure;
use crate::Outcome;

/// A file with a seed has no more than this, in bytes.
const MOST: u64 = 4096;

/// Reads the seed, and checks that it is that of the node that is expected.
pub fn identity(args: &IdentityArgs) -> Outcome<Identity> {
    let passphrase = match &args.passphrase_file {
        Some(path) => Some(text(file(path)?, path)?),
        None => None,
    };
    let identity = match (&args.seed_file, &args.mnemonic_file) {
        (Some(path), _) => from_seed(&file(path)?, &path.display().to_string())?,
        (None, Some(path)) => {
            let words = text(file(path)?, path)?;
            from_words(
                &words,
                passphrase.as_ref().map(|p| p.as_str()),
                args.network,
            )?
        }
        (None, None) => ask(passphrase, args.network)?,
    };
    match args.expect_node_id {
        Some(expected) => Ok(identity.expect(expected)?),
        None => Ok(identity),
    }
}

/// Asks on the terminal, without an echo.
fn ask(passphrase: Option<Zeroizing<String>>, network: Network) -> Outcome<Identity> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "no seed: give --seed-file or --mnemonic-file, or run it on a terminal".to_owned(),
        ));
    }
    let answer = hidden("Seed (12 to 24 words, or 64 hex digits; not shown): ")?;
    if !answer.trim().contains(char::is_whitespace) {
        return from_seed(answer.as_bytes(), "what was typed");
    }
    let passphrase = match passphrase {
        Some(passphrase) => passphrase,
        None => hidden("BIP39 passphrase (empty if there is none; not shown): ")?,
    };
    from_words(&answer, Some(passphrase.as_str()), network)
}

fn hidden(prompt: &str) -> Outcome<Zeroizing<String>> {
    let answer = rpassword::prompt_password(prompt);
    let answer = answer.map_err(|error| Failure::Usage(format!("nothing was typed: {error}")))?;
    Ok(Zeroizing::new(answer))
}

fn from_seed(bytes: &[u8], source: &str) -> Outcome<Identity> {
    let mut seed = seed(bytes).ok_or_else(|| {
        Failure::Usage(format!(
            "{source} is no seed: neither 32 bytes nor 64 hex digits"
        ))
    })?;
    let identity = Identity::from_seed(*seed);
    seed.zeroize();
    Ok(identity?)
}

fn seed(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let hex = std::str::from_utf8(bytes).ok()?.trim();
    <[u8; 32]>::from_hex(hex).ok().map(Zeroizing::new)
}

fn from_words(words: &str, passphrase: Option<&str>, network: Network) -> Outcome<Identity> {
    // The error of the library may name a word.
    Identity::from_ldk_node_mnemonic(words.trim(), passphrase.unwrap_or_default(), network).map_err(
        |_| {
            Failure::Usage(
                "these are no valid BIP39 words: check their number, order and spelling".to_owned(),
            )
        },
    )
}

fn file(path: &Path) -> Outcome<Zeroizing<Vec<u8>>> {
    // With room for all of it: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST as usize + 1));
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    read.map_err(|error| Failure::unreadable(path, &error))?;
    Ok(bytes)
}

/// Without the end of its last line.
fn text(bytes: Zeroizing<Vec<u8>>, path: &Path) -> Outcome<Zeroizing<String>> {
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::Usage(format!("{} is no text", path.display())))?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
