//! What cannot be tested from outside.

mod close;
mod socket;
mod socks;
#[path = "../../tests/support/mod.rs"]
mod support;

/// Asserts that nothing left a node that is about channels, but for one kind of message.
#[track_caller]
fn assert_quiet_but_for(sent: &[String], asked_for: &str) {
    let may_leave = [
        "Init",
        "PeerStorage",
        "PeerStorageRetrieval",
        "Ping",
        "Pong",
        asked_for,
    ];
    let other = sent.iter().find(|name| !may_leave.contains(&name.as_str()));
    assert_eq!(other, None, "left the node, among: {sent:?}");
}
