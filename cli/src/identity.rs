//! From a file or a hidden prompt to the identity of a node. Never from an argument or the environment:
//! other users of the machine can see those, and shells write them down.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use bitcoin::hex::FromHex;
use bitcoin::Network;
use ldk_peer_storage::recovery::Identity;
use zeroize::Zeroizing;

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
    let identity = if let Some(path) = &args.seed_file {
        from_seed(&file(path)?, &path.display().to_string())?
    } else if let Some(path) = &args.ldk_node_seed_file {
        from_ldk_node_seed(&file(path)?, &path.display().to_string())?
    } else if let Some(path) = &args.mnemonic_file {
        let words = text(file(path)?, path)?;
        let passphrase = passphrase.as_ref().map(|p| p.as_str());
        from_words(&words, passphrase, args.network)?
    } else {
        ask(passphrase, args.network)?
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
            "no seed: give --seed-file, --mnemonic-file or --ldk-node-seed-file, or run it on a terminal"
                .to_owned(),
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
    let seed = seed::<32>(bytes).ok_or_else(|| {
        Failure::Usage(format!(
            "{source} is no seed: neither 32 bytes nor 64 hex digits"
        ))
    })?;
    Ok(Identity::from_seed(*seed)?)
}

fn from_ldk_node_seed(bytes: &[u8], source: &str) -> Outcome<Identity> {
    // A seed of 32 bytes, written in hex, has 64 bytes as well: it is that of another node.
    if seed::<32>(bytes).is_some() {
        return Err(Failure::Usage(format!(
            "{source} is a seed of 32 bytes: give it as --seed-file"
        )));
    }
    let seed = seed::<64>(bytes).ok_or_else(|| {
        Failure::Usage(format!(
            "{source} is no seed of ldk-node: neither 64 bytes nor 128 hex digits"
        ))
    })?;
    Ok(Identity::from_ldk_node_seed(&seed)?)
}

/// Raw, or in hex.
fn seed<const N: usize>(bytes: &[u8]) -> Option<Zeroizing<[u8; N]>>
where
    [u8; N]: FromHex,
{
    if let Ok(raw) = <[u8; N]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let hex = std::str::from_utf8(bytes).ok()?.trim();
    <[u8; N]>::from_hex(hex).ok().map(Zeroizing::new)
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
