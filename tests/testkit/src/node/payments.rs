//! Channels and payments between two nodes of a test.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bitcoin::secp256k1::PublicKey;
use bitcoin::{Amount, OutPoint};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::ln::types::ChannelId;
use lightning::routing::router::{Path, Route, RouteHop};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::types::payment::{PaymentHash, PaymentSecret};

use super::{pump, Node};
use crate::chain::Chain;
use crate::lock::lock;
use crate::wait::{wait_for_some, wait_until, DEADLINE};

/// LDK refuses a final hop with much less.
const FINAL_CLTV_DELTA: u32 = 80;
/// LDK's default depth of a channel that is ready.
const CONFIRMATIONS: u32 = 6;

/// Opens a channel from `a` to `b` with half of it on either side; see [`open_channel_pushing`].
#[track_caller]
pub fn open_channel(chain: &Chain, a: &Node, b: &Node, sat: u64) -> ChannelId {
    open_channel_pushing(chain, a, b, sat, sat * 1_000 / 2)
}

/// Connects the two if they are not, opens a channel of `sat` with `push_msat` on `b`'s side, mines
/// six blocks and returns when both can pay.
#[track_caller]
pub fn open_channel_pushing(
    chain: &Chain,
    a: &Node,
    b: &Node,
    sat: u64,
    push_msat: u64,
) -> ChannelId {
    if !a.is_connected(&b.id()) || !b.is_connected(&a.id()) {
        a.connect_to(b);
    }
    let (mark, mark_b) = (a.events().len(), b.events().len());
    let created = a
        .channel_manager()
        .create_channel(b.id(), sat, push_msat, 0, None, None);
    let temporary = created.unwrap_or_else(|e| panic!("{a:?} cannot open a channel: {e:?}"));
    let script = a.wait_event("the funding script", mark, |event| match event {
        Event::FundingGenerationReady {
            temporary_channel_id,
            output_script,
            ..
        } if *temporary_channel_id == temporary => Some(output_script.clone()),
        _ => None,
    });
    // The faucet's transaction is LDK's to publish, once the other side has signed.
    let funding = chain.prepare_payment(&script, Amount::from_sat(sat));
    let outpoint = OutPoint::new(funding.compute_txid(), 0);
    let generated = a
        .channel_manager()
        .funding_transaction_generated(temporary, b.id(), funding);
    generated.unwrap_or_else(|e| panic!("{a:?} cannot fund a channel: {e:?}"));
    wait_until("the funding transaction", DEADLINE, || {
        chain.transaction(outpoint.txid).is_some()
    });
    chain.mine(CONFIRMATIONS);
    let ready = |node: &Node| {
        let channels = node.channels();
        let channel = channels.into_iter().find(|c| {
            c.funding_txo
                .is_some_and(|txo| txo.into_bitcoin_outpoint() == outpoint)
        })?;
        channel.is_usable.then_some(channel.channel_id)
    };
    let id = wait_for_some("the channel to be ready on both sides", DEADLINE, || {
        ready(b).and(ready(a))
    });
    for (node, mark) in [(a, mark), (b, mark_b)] {
        node.sync();
        node.wait_event("the channel to be ready", mark, |event| match event {
            Event::ChannelReady { channel_id, .. } if *channel_id == id => Some(()),
            _ => None,
        });
    }
    id
}

/// Pays over the direct channel, and waits until `a` has the preimage, `b` the money, and the
/// channel nothing left to do for this payment.
#[track_caller]
pub fn pay(a: &Node, b: &Node, msat: u64) {
    let mark = b.events().len();
    let hash = send(a, b, msat, false);
    wait_sent(a, hash);
    wait_until_gone(a, hash);
    b.wait_event("the payment to be claimed", mark, |event| match event {
        Event::PaymentClaimed { payment_hash, .. } if *payment_hash == hash => Some(()),
        _ => None,
    });
}

/// Starts a payment over the direct channel, and does not wait for it.
#[track_caller]
pub fn start_payment(a: &Node, b: &Node, msat: u64) {
    send(a, b, msat, false);
}

/// Sends a payment that `b` neither claims nor fails by itself; returns when `b` could do so. Its
/// HTLC is then in the commitment transactions of both.
#[track_caller]
pub fn pay_hold(a: &Node, b: &Node, msat: u64) -> HeldPayment {
    let mark = b.events().len();
    let hash = send(a, b, msat, true);
    let preimage = b.wait_event("the payment to arrive", mark, |event| match event {
        Event::PaymentClaimable {
            payment_hash,
            purpose,
            ..
        } if *payment_hash == hash => pump::preimage(purpose),
        _ => None,
    });
    HeldPayment { hash, preimage }
}

/// A payment that waits at its recipient. It survives restarts of both nodes.
#[derive(Clone, Copy, Debug)]
pub struct HeldPayment {
    /// Names the payment.
    pub hash: PaymentHash,
    /// What claims it.
    pub preimage: lightning::types::payment::PaymentPreimage,
}

impl HeldPayment {
    /// Lets the recipient claim, without waiting for the sender to hear of it.
    pub fn claim(&self, recipient: &Node) {
        recipient.channel_manager().claim_funds(self.preimage);
    }

    /// Lets the recipient claim, and waits until the sender has the preimage.
    #[track_caller]
    pub fn claim_and_wait(&self, sender: &Node, recipient: &Node) {
        self.claim(recipient);
        wait_sent(sender, self.hash);
    }

    /// Lets the recipient refuse.
    pub fn fail(&self, recipient: &Node) {
        recipient.channel_manager().fail_htlc_backwards(&self.hash);
    }

    /// Lets the recipient refuse, and waits until the sender knows.
    #[track_caller]
    pub fn fail_and_wait(&self, sender: &Node, recipient: &Node) {
        self.fail(recipient);
        sender.wait_event("the payment to fail", 0, |event| match event {
            Event::PaymentFailed {
                payment_hash: Some(hash),
                ..
            } if *hash == self.hash => Some(()),
            _ => None,
        });
    }
}

/// Payments that their recipients must not claim by themselves. Not part of a node: a restarted one,
/// or one that was killed before it could write anything, must hold them as well.
static HELD: Mutex<BTreeSet<PaymentHash>> = Mutex::new(BTreeSet::new());

pub(super) fn is_held(payment: &PaymentHash) -> bool {
    lock(&HELD).contains(payment)
}

/// What a payer in another process has to know.
#[derive(Clone, Copy, Debug)]
pub struct PaymentRequest {
    /// Names the payment.
    pub hash: PaymentHash,
    /// Proves to the payee that the payer has the request.
    pub secret: PaymentSecret,
    /// How much.
    pub msat: u64,
}

/// Asks for a payment to `payee`, which claims it when it arrives.
pub fn request_payment(payee: &Node, msat: u64) -> PaymentRequest {
    let manager = payee.channel_manager();
    let prepared = manager.create_inbound_payment(Some(msat), 3_600, None);
    let (hash, secret) = prepared.expect("a sensible payment");
    PaymentRequest { hash, secret, msat }
}

/// Pays a neighbour in another process, and waits until `payer` has the preimage and the channel
/// nothing left to do for this payment.
#[track_caller]
pub fn pay_request(payer: &Node, payee: &PublicKey, request: PaymentRequest) {
    send_request(payer, payee, request);
    wait_sent(payer, request.hash);
    wait_until_gone(payer, request.hash);
}

/// The preimage comes before the HTLC has left the commitment transactions. The payer's channel
/// forgets it with the last message of that exchange, so both monitors stand still after it.
#[track_caller]
fn wait_until_gone(payer: &Node, hash: PaymentHash) {
    wait_until("the HTLC to be gone", DEADLINE, || {
        let channels = payer.channel_manager().list_channels();
        let mut htlcs = channels.iter().flat_map(|c| &c.pending_outbound_htlcs);
        htlcs.all(|htlc| htlc.payment_hash != hash)
    });
}

fn send(a: &Node, b: &Node, msat: u64, hold: bool) -> PaymentHash {
    let request = request_payment(b, msat);
    if hold {
        lock(&HELD).insert(request.hash);
    }
    send_request(a, &b.id(), request);
    request.hash
}

fn send_request(payer: &Node, payee: &PublicKey, request: PaymentRequest) {
    let route = wait_for_some("a channel that can carry the payment", DEADLINE, || {
        route(payer, payee, request.msat)
    });
    let sent = payer.channel_manager().send_payment_with_route(
        route,
        request.hash,
        RecipientOnionFields::secret_only(request.secret),
        PaymentId(request.hash.0),
    );
    sent.unwrap_or_else(|e| panic!("{payer:?} cannot pay: {e:?}"));
}

/// The hop to the neighbour, once both sides have settled what came before.
fn route(a: &Node, b: &PublicKey, msat: u64) -> Option<Route> {
    let channels = a.channels_with(b);
    let fits = |c: &&lightning::ln::channel_state::ChannelDetails| {
        c.is_usable && c.next_outbound_htlc_limit_msat >= msat
    };
    let hop = RouteHop {
        pubkey: *b,
        node_features: NodeFeatures::empty(),
        short_channel_id: channels.iter().find(fits)?.get_outbound_payment_scid()?,
        channel_features: ChannelFeatures::empty(),
        fee_msat: msat,
        cltv_expiry_delta: FINAL_CLTV_DELTA,
        maybe_announced_channel: false,
    };
    let path = Path {
        hops: vec![hop],
        blinded_tail: None,
    };
    Some(Route {
        paths: vec![path],
        route_params: None,
    })
}

#[track_caller]
fn wait_sent(a: &Node, hash: PaymentHash) {
    let outcome = a.wait_event("the payment to succeed", 0, |event| match event {
        Event::PaymentSent { payment_hash, .. } if *payment_hash == hash => Some(Ok(())),
        Event::PaymentFailed {
            payment_hash: Some(h),
            reason,
            ..
        } if *h == hash => Some(Err(*reason)),
        _ => None,
    });
    outcome.unwrap_or_else(|reason| panic!("the payment failed: {reason:?}"));
}
