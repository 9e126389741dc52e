//! A phone is lost, and its Lightning channels are not.
//!
//! One phone and three peers, each its own operating-system process and a full LDK node that talks
//! TCP on this machine. Two peers run this crate; the third is a stock LDK 0.2.7, which keeps 1024
//! bytes for its peers. The phone backs up to all three, is killed, and its files are removed. A new
//! phone gets the seed and the address of one peer, nothing else. It reads its backup back; then the
//! person agrees, the peers close the channels, and the coins come to the person's address.
//!
//! ```text
//! cargo run --release --example lost_phone
//! ```
//!
//! The last line is for scripts:
//! `lost_phone: ok peers=3 restored_channels=N generation=G closed_channels=0 recovered_sat=R
//! expected_sat=E fees_sat=F`, in one. `closed_channels` counts those closed before the person agreed,
//! and R + F = E.

// An example fails by panicking, with a message that says what was expected.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "lost_phone/ending.rs"]
mod ending;
#[path = "lost_phone/new_phone.rs"]
mod new_phone;
#[path = "lost_phone/node.rs"]
mod node;
#[path = "lost_phone/process.rs"]
mod process;
#[path = "lost_phone/recover.rs"]
mod recover;
#[path = "lost_phone/story.rs"]
mod story;
#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        None => story::tell(),
        Some("node") => node::run(&args[1..]),
        Some("new-phone") => new_phone::run(&args[1..]),
        Some(other) => panic!("unknown role {other}; start it without arguments"),
    }
}
