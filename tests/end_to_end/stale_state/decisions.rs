//! What a held wallet does by itself must not make its old state look current.

use ldk_peer_storage::exchange::{Resolution, ResolveError};
use testkit::ChannelType::Anchors;
use testkit::{copy_dir, open_channel, pay, pay_hold, DEADLINE};

use super::stage::{holding_alarms, push, Stage};
use crate::support::Wallet;

/// Each claim moves a state stamp, peer or no peer.
const CLAIMS: usize = 12;

#[test]
fn claims_made_while_held_do_not_make_an_old_state_current() {
    let stage = Stage::new(Anchors);
    let bob = Wallet::start(stage.wallet("bob"));
    let alice = Wallet::start(stage.wallet("alice"));
    alice.connect_to(&bob.node);
    open_channel(&stage.chain, &alice.node, &bob.node, 1_000_000);
    alice.reconnect(&bob.node);
    let held: Vec<_> = (0..CLAIMS)
        .map(|_| pay_hold(&bob.node, &alice.node, 2_000_000))
        .collect();
    let alice = alice.stop();
    let old = stage.copy(&alice);
    let alice = Wallet::start(alice);
    alice.reconnect(&bob.node);
    pay(&alice.node, &bob.node, 1_000_000);
    push(&alice, &bob.node);
    let alice = alice.stop();
    copy_dir(&old.node, &alice.node.dir);

    let mut alice = Wallet::start(alice);
    let refused = |alice: &Wallet| {
        assert!(alice.storage.flush(DEADLINE));
        let id = holding_alarms(alice)[0].id;
        let decided = alice
            .storage
            .resolve_alarm(id, Resolution::ThisDeviceIsCurrent);
        assert_eq!(decided, Err(ResolveError::ProvedStale));
    };
    refused(&alice);
    for payment in held {
        payment.claim(&alice.node);
    }
    refused(&alice);
    alice = alice.restart();
    refused(&alice);
}
