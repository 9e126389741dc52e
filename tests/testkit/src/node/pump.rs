//! The thread that drives a node, as `lightning-background-processor` drives a wallet's.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lightning::chain::{BestBlock, Listen};
use lightning::events::bump_transaction::sync::{BumpTransactionEventHandlerSync, WalletSync};
use lightning::events::{Event, EventsProvider, PaymentPurpose, ReplayEvent};
use lightning::sign::{EntropySource, KeysManager};
use lightning::util::wakers::Sleeper;

use super::extension::{Extension, NodeParts};
use super::payments;
use super::types::{DynBroadcaster, DynLogger, TestPeerManager};
use super::wallet::Wallet;
use super::Shared;
use crate::lock::lock;
use crate::panics::ThreadTag;

/// The longest pause between two turns. LDK wakes the pump earlier for most of its work, but not for
/// all of it: so after a wake the pauses are short for a while.
const PAUSE: Duration = Duration::from_millis(5);
const SHORT_PAUSE: Duration = Duration::from_millis(1);
const LIVELY: Duration = Duration::from_millis(50);
/// LDK counts these: a peer that owes an answer for two of them is disconnected. So they must not
/// come faster than a slow machine can answer.
const TICK: Duration = Duration::from_secs(30);

type Bumper = BumpTransactionEventHandlerSync<
    Arc<DynBroadcaster>,
    Arc<WalletSync<Arc<Wallet>, Arc<DynLogger>>>,
    Arc<KeysManager>,
    Arc<DynLogger>,
>;

pub(super) struct Pump {
    parts: NodeParts,
    peer_manager: Arc<TestPeerManager>,
    shared: Arc<Shared>,
    extension: Arc<dyn Extension>,
    bumper: Bumper,
    seen: BestBlock,
    next_tick: Instant,
}

impl Pump {
    pub fn new(
        parts: NodeParts,
        peer_manager: Arc<TestPeerManager>,
        shared: Arc<Shared>,
        wallet: Arc<Wallet>,
        extension: Arc<dyn Extension>,
    ) -> Pump {
        let bumper = BumpTransactionEventHandlerSync::new(
            Arc::clone(&parts.broadcaster),
            Arc::new(WalletSync::new(wallet, Arc::clone(&parts.logger))),
            Arc::clone(&parts.keys),
            Arc::clone(&parts.logger),
        );
        Pump {
            seen: parts.channel_manager.current_best_block(),
            next_tick: Instant::now() + TICK,
            parts,
            peer_manager,
            shared,
            extension,
            bumper,
        }
    }

    fn run(&mut self) {
        self.extension.block(self.seen.height);
        let mut lively_until = Instant::now();
        while !self.shared.stop.load(Ordering::SeqCst) {
            self.turn();
            let sleeper = Sleeper::from_two_futures(
                &self
                    .parts
                    .channel_manager
                    .get_event_or_persistence_needed_future(),
                &self.parts.chain_monitor.get_update_future(),
            );
            let lively = Instant::now() < lively_until;
            if sleeper.wait_timeout(if lively { SHORT_PAUSE } else { PAUSE }) {
                lively_until = Instant::now() + LIVELY;
            }
        }
    }

    fn turn(&mut self) {
        self.follow_chain();
        self.parts
            .channel_manager
            .process_pending_events(&|event| self.handle(event));
        self.parts
            .chain_monitor
            .process_pending_events(&|event| self.handle(event));
        self.parts.channel_manager.process_pending_htlc_forwards();
        self.peer_manager.process_events();
        if Instant::now() >= self.next_tick {
            self.next_tick = Instant::now() + TICK;
            self.parts.channel_manager.timer_tick_occurred();
            self.peer_manager.timer_tick_occurred();
            self.parts.chain_monitor.rebroadcast_pending_claims();
        }
        if self.parts.channel_manager.get_and_clear_needs_persistence() {
            self.shared.disk.write_manager(&self.parts.channel_manager);
        }
        self.extension.tick();
    }

    fn follow_chain(&mut self) {
        let chain = Arc::clone(&self.parts.chain);
        let tip = chain.tip();
        if tip == self.seen {
            return;
        }
        let fork = chain.fork_point(self.seen.block_hash);
        if fork != self.seen {
            self.parts.chain_monitor.blocks_disconnected(fork);
            self.parts.channel_manager.blocks_disconnected(fork);
            self.seen = fork;
        }
        for height in fork.height + 1..=tip.height {
            let Some(block) = chain.block(height) else {
                return;
            };
            if block.header.prev_blockhash != self.seen.block_hash {
                // The chain was reorganised meanwhile. The next turn starts at the fork.
                return;
            }
            self.parts.chain_monitor.block_connected(&block, height);
            self.parts.channel_manager.block_connected(&block, height);
            self.seen = BestBlock::new(block.block_hash(), height);
        }
        self.extension.block(self.seen.height);
    }

    fn handle(&self, event: Event) -> Result<(), ReplayEvent> {
        self.extension.event(&event);
        let manager = &self.parts.channel_manager;
        match &event {
            Event::OpenChannelRequest {
                temporary_channel_id,
                counterparty_node_id,
                ..
            } => {
                let bytes = self.parts.keys.get_secure_random_bytes();
                let id = u128::from_le_bytes(*bytes.first_chunk().expect("32 bytes"));
                let accepted = manager.accept_inbound_channel(
                    temporary_channel_id,
                    counterparty_node_id,
                    id,
                    None,
                );
                accepted.unwrap_or_else(|e| panic!("cannot accept a channel: {e:?}"));
            }
            Event::PaymentClaimable {
                payment_hash,
                purpose,
                ..
            } => {
                let held = payments::is_held(payment_hash);
                if let (false, Some(preimage)) = (held, preimage(purpose)) {
                    manager.claim_funds(preimage);
                }
            }
            Event::SpendableOutputs { outputs, .. } => {
                let mut spendable = lock(&self.shared.spendable);
                for output in outputs {
                    if !spendable.contains(output) {
                        spendable.push(output.clone());
                    }
                }
                self.shared.disk.write_spendable(&spendable);
            }
            Event::BumpTransaction(bump) => self.bumper.handle_event(bump),
            _ => {}
        }
        lock(&self.shared.events).push(event);
        self.shared.more_events.notify_all();
        Ok(())
    }
}

/// Known for payments that `create_inbound_payment` prepared.
pub(super) fn preimage(
    purpose: &PaymentPurpose,
) -> Option<lightning::types::payment::PaymentPreimage> {
    purpose.preimage()
}

pub(super) fn spawn(tag: &ThreadTag, mut pump: Pump) -> JoinHandle<()> {
    spawn_guarded(tag, "pump", move || pump.run())
}

/// A thread that calls `process_events` all the time.
pub(super) fn spawn_drain(
    tag: &ThreadTag,
    peer_manager: Arc<TestPeerManager>,
    shared: Arc<Shared>,
) -> JoinHandle<()> {
    spawn_guarded(tag, "drain", move || {
        while !shared.stop.load(Ordering::SeqCst) {
            peer_manager.process_events();
            std::thread::yield_now();
        }
    })
}

/// The panic hook has filed a panic before it arrives here.
fn spawn_guarded(
    tag: &ThreadTag,
    role: &str,
    body: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
    let builder = std::thread::Builder::new().name(tag.thread(role));
    let guarded = move || {
        let _ = std::panic::catch_unwind(AssertUnwindSafe(body));
    };
    builder.spawn(guarded).expect("the system gives threads")
}
