//! `inspect`: what is in a sealed backup, for the one who has the seed.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bitcoin::hex::{DisplayHex, FromHex};
use clap::Args as ClapArgs;
use ldk_peer_storage::backup::{BackupKey, Contents, Tier, MAX_BLOB};
use lightning::sign::NodeSigner;
use serde_json::json;
use zeroize::Zeroize;

use crate::args::IdentityArgs;
use crate::channels::{name, Channel, PeerEntry};
use crate::failure::Failure;
use crate::identity::identity;
use crate::output::Output;
use crate::Outcome;

/// Hex has two digits a byte, and may be written on many lines.
const MOST: u64 = 4 * MAX_BLOB as u64;

/// Opens a sealed backup, as a peer keeps it, and shows what is in it: private data.
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    identity: IdentityArgs,
    /// The file with the backup, raw or in hex; without one it is read from the standard input.
    blob: Option<PathBuf>,
}

pub fn run(args: &Args, output: &Output) -> Outcome {
    let identity = identity(&args.identity)?;
    let blob = read(args)?;
    let mut secret = identity.keys().get_peer_storage_key();
    let key = BackupKey::derive(&secret.inner, args.identity.network, &identity.node_id());
    secret.inner.zeroize();
    show(&blob, &key.open_snapshot(&blob)?, output);
    Ok(())
}

fn read(args: &Args) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match &args.blob {
        Some(path) => File::open(path)
            .and_then(|file| file.take(MOST).read_to_end(&mut bytes))
            .map_err(|error| Failure::unreadable(path, &error)),
        None => std::io::stdin()
            .take(MOST)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::Usage(format!("cannot read the standard input: {error}"))),
    };
    read?;
    // A sealed backup begins with its version, which is no hex digit.
    let text = std::str::from_utf8(&bytes).ok();
    let digits = text.map(|text| text.split_whitespace().collect::<String>());
    Ok(digits
        .and_then(|digits| Vec::from_hex(&digits).ok())
        .unwrap_or(bytes))
}

fn show(blob: &[u8], contents: &Contents, output: &Output) {
    let snapshot = &contents.snapshot;
    let tier = match contents.tier {
        Tier::Essential => "essential",
        Tier::Full => "full",
    };
    let rows = [
        ["size".to_owned(), format!("{} bytes", blob.len())],
        ["tier".to_owned(), tier.to_owned()],
        ["revision".to_owned(), snapshot.revision.to_string()],
        ["peers".to_owned(), snapshot.peers.len().to_string()],
        ["channels".to_owned(), snapshot.channels.len().to_string()],
        ["monitors".to_owned(), snapshot.monitors.len().to_string()],
        [
            "unswept outputs".to_owned(),
            snapshot.spendable_outputs.len().to_string(),
        ],
        [
            "app data".to_owned(),
            format!("{} bytes", snapshot.app_data.len()),
        ],
        ["left out".to_owned(), left_out(contents).to_owned()],
    ];
    output.table(["backup", ""], &rows);
    let rows: Vec<_> = snapshot
        .peers
        .iter()
        .map(|peer| {
            let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
            [peer.node_id.to_string(), addresses.join(" ")]
        })
        .collect();
    if !output.is_json() && !rows.is_empty() {
        output.say("");
    }
    output.table(["peer", "addresses"], &rows);
    let rows: Vec<_> = snapshot
        .channels
        .iter()
        .map(|channel| {
            let capacity = channel.value_sat.map(|sat| format!("{sat} sat"));
            [
                name(&channel.ids),
                channel.counterparty.to_string(),
                channel.update_id.to_string(),
                capacity.unwrap_or_else(|| "unknown".to_owned()),
            ]
        })
        .collect();
    if !output.is_json() && !rows.is_empty() {
        output.say("");
    }
    output.table(["channel", "with", "state", "capacity"], &rows);

    let peers: Vec<_> = snapshot.peers.iter().map(PeerEntry::from).collect();
    let channels: Vec<_> = snapshot.channels.iter().map(Channel::from).collect();
    let fields = json!({
        "bytes": blob.len(),
        "tier": tier,
        "revision": snapshot.revision.to_string(),
        "installation": snapshot.installation.0.to_lower_hex_string(),
        "peers": peers,
        "channels": channels,
        "monitors": snapshot.monitors.len(),
        "unswept_outputs": snapshot.spendable_outputs.len(),
        "app_data_bytes": snapshot.app_data.len(),
        "trimmed": contents.trimmed,
        "partial": contents.partial,
    });
    output.event("inspected", fields);
}

fn left_out(contents: &Contents) -> &'static str {
    match (contents.trimmed, contents.partial) {
        (false, false) => "nothing of its tier",
        (true, _) => "channels",
        (false, true) => "something besides channels",
    }
}
