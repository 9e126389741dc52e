//! The pure part against a model that knows what was said and nothing else: ten thousand random days of
//! an app, with a clock that only these tests move.

use std::collections::BTreeSet;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use bitcoin::Network;
use lightning::sign::KeysManager;
use proptest::prelude::*;

use super::call::Deadline;
use super::facts::Facts;
use super::schedule::{Schedule, Visited, Whom};
use super::state::{Place, State, Step};
use super::{AutoSync, LifeState};
use crate::exchange::Time;
use crate::service::{Config, PeerStorage};
use crate::store::StoreError;

const LINGER: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
enum Said {
    Foreground,
    /// With a budget, in ms.
    Background(u64),
    Network(bool),
    HostNode(bool),
    Hold,
    Release,
    Wallet,
    /// Another bounded call: its budget in ms.
    Call(u64),
    /// Its own work is done.
    CallDone,
    CallEnds,
    ShutDown(u64),
    /// Time goes on, in ms.
    Wait(u64),
    /// A visit that the driver has begun ends, if there is one.
    PassEnds,
}

fn said() -> impl Strategy<Value = Said> {
    let budget = || prop_oneof![Just(0), 1..500u64, 500..40_000u64];
    prop_oneof![
        3 => Just(Said::Foreground),
        3 => budget().prop_map(Said::Background),
        2 => any::<bool>().prop_map(Said::Network),
        2 => any::<bool>().prop_map(Said::HostNode),
        1 => Just(Said::Hold),
        1 => Just(Said::Release),
        2 => Just(Said::Wallet),
        1 => budget().prop_map(Said::Call),
        1 => Just(Said::CallDone),
        2 => Just(Said::CallEnds),
        1 => budget().prop_map(Said::ShutDown),
        4 => budget().prop_map(Said::Wait),
        2 => Just(Said::PassEnds),
    ]
}

/// What was said, in its order and with its time. Everything is derived from that.
#[derive(Default)]
struct Model {
    log: Vec<(u64, Said)>,
    /// Calls under way: begun, budget, at work.
    calls: Vec<(u64, u64, bool)>,
}

impl Model {
    fn last<T>(&self, find: impl Fn(&(u64, Said)) -> Option<T>) -> Option<T> {
        self.log.iter().rev().find_map(find)
    }

    fn shut_down(&self) -> Option<u64> {
        let ends = |(at, said): &(u64, Said)| match said {
            Said::ShutDown(budget) => Some(work_until(*at, *budget)),
            _ => None,
        };
        self.log.iter().find_map(ends)
    }

    fn visible(&self) -> bool {
        let tells = |(_, said): &(u64, Said)| match said {
            Said::Foreground => Some(true),
            Said::Background(_) => Some(false),
            _ => None,
        };
        self.shut_down().is_none() && self.last(tells).unwrap_or(true)
    }

    fn holds(&self) -> u32 {
        self.log.iter().fold(0u32, |holds, (_, said)| match said {
            Said::Hold => holds + 1,
            Said::Release => holds.saturating_sub(1),
            _ => holds,
        })
    }

    fn is_obstructed(&self) -> bool {
        let network = self.last(|(_, said)| match said {
            Said::Network(there) => Some(*there),
            _ => None,
        });
        let node = self.last(|(_, said)| match said {
            Said::HostNode(runs) => Some(*runs),
            _ => None,
        });
        network == Some(false) || node == Some(true) || self.holds() > 0
    }

    /// In background: until when anything may be alive.
    fn alive_until(&self) -> u64 {
        let ends = self
            .calls
            .iter()
            .map(|(at, budget, _)| work_until(*at, *budget));
        ends.max().unwrap_or(0)
    }

    /// A short hop: until when nothing is torn down.
    fn hop_until(&self) -> u64 {
        let mut until = 0;
        let mut visible = true;
        for (at, said) in &self.log {
            match said {
                Said::Background(budget) => {
                    if visible {
                        until = (at + LINGER.as_millis() as u64).min(work_until(*at, *budget));
                    }
                    visible = false;
                }
                Said::Foreground => visible = true,
                _ => {}
            }
        }
        until
    }
}

/// Of each budget a quarter is for the end, but no more than two seconds.
fn work_until(at: u64, budget: u64) -> u64 {
    at + (budget * 4 - budget.min(8_000)) / 4
}

struct World {
    storage: PeerStorage,
    state: State,
    now: Time,
    model: Model,
    calls: Vec<u64>,
    /// The driver waits until then...
    wakes_at: Option<Time>,
    /// ...or has ended.
    ended: bool,
}

impl World {
    fn new(storage: &PeerStorage) -> World {
        let facts = Facts {
            visible: true,
            network: true,
            ..Facts::default()
        };
        World {
            storage: storage.clone(),
            state: State::new(facts, AutoSync::default(), storage.clone()),
            now: Time(1_000_000),
            model: Model::default(),
            calls: Vec::new(),
            wakes_at: None,
            ended: false,
        }
    }

    fn hear(&mut self, said: Said) {
        let (now, state) = (self.now, &mut self.state);
        let mut begin = |state: &mut State, model: &mut Model, budget: u64, at_work: bool| {
            let deadline = Deadline::new(now, Duration::from_millis(budget));
            self.calls.push(state.calls.begin(deadline, at_work));
            model.calls.push((now.0, budget, at_work));
            deadline
        };
        match &said {
            Said::Foreground => state.came_back(now),
            Said::Background(budget) => {
                let deadline = begin(state, &mut self.model, *budget, false);
                state.was_left(now, deadline, LINGER);
            }
            Said::Network(there) => state.network_is(now, *there),
            Said::HostNode(runs) => state.host_node_is(now, *runs),
            Said::Hold => state.hold_begins(),
            Said::Release => state.hold_ends(now),
            Said::Wallet => state.wallet_changed(now),
            Said::Call(budget) => {
                begin(state, &mut self.model, *budget, true);
            }
            Said::CallDone => {
                if let Some(call) = self.calls.last() {
                    state.calls.done(*call);
                    self.model.calls.last_mut().unwrap().2 = false;
                }
            }
            Said::CallEnds => {
                if !self.calls.is_empty() {
                    state.calls.end(self.calls.remove(0));
                    self.model.calls.remove(0);
                }
            }
            Said::ShutDown(budget) => {
                let deadline = begin(state, &mut self.model, *budget, false);
                state.shut_down(deadline);
            }
            Said::Wait(ms) => {
                let end = Time(now.0 + ms);
                while let Some(at) = self.wakes_at.filter(|at| *at <= end) {
                    self.now = at;
                    self.drive();
                }
                self.now = end;
            }
            Said::PassEnds => {
                if std::mem::take(&mut state.pass_runs) {
                    let (whom, visited) = (Whom::default(), Visited::default());
                    let sync = AutoSync::default();
                    state.schedule.ended(now, &whom, visited, &sync);
                }
            }
        }
        self.model.log.push((now.0, said));
        self.state.heed(self.now);
    }

    /// Does what the driver does, until it waits.
    fn drive(&mut self) {
        self.ended = false;
        self.wakes_at = None;
        for _ in 0..20 {
            let step = self.state.next_step(self.now);
            self.check(step);
            match step {
                Step::Open => {
                    self.state.opened(self.now, self.storage.clone());
                }
                Step::Close(_) => {
                    // Visits end with it.
                    self.state.pass_runs = false;
                    self.state.place = Place::Closed;
                }
                Step::Sync => {
                    self.state.schedule.begin(self.now);
                    self.state.pass_runs = true;
                }
                Step::Drain => {
                    self.state.drained = true;
                    self.state.pass_runs = true;
                }
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > self.now), "it would spin");
                    self.wakes_at = until;
                    return;
                }
                Step::End => {
                    self.ended = true;
                    return;
                }
            }
        }
        panic!("the driver does not come to rest");
    }

    /// What holds of any single step.
    fn check(&self, step: Step) {
        let model = &self.model;
        let shut_down = model.shut_down();
        match step {
            Step::Sync => {
                assert!(model.visible(), "a visit of its own while nobody looks");
                assert!(!model.is_obstructed(), "a visit beside an obstacle");
            }
            Step::Drain => {
                assert!(!model.visible());
                let until = shut_down.unwrap_or(model.alive_until());
                assert!(self.now.0 < until, "after the budget");
            }
            Step::Open => {
                let may_open = match shut_down {
                    Some(until) => self.now.0 < until,
                    None => model.visible() || self.now.0 < model.alive_until(),
                };
                assert!(may_open, "opened although nobody may want it");
            }
            Step::Close(_) => assert!(!model.visible(), "closed beneath the app"),
            Step::Wait(_) | Step::End => {}
        }
    }

    /// What holds once the driver has come to rest.
    fn check_rest(&self) {
        let model = &self.model;
        let is_open = matches!(self.state.place, Place::Open(_));
        assert_eq!(
            self.ended, !is_open,
            "a thread without a purpose, or none where one is needed"
        );
        if model.visible() {
            assert!(is_open);
            assert_eq!(self.state.life_state(self.now), LifeState::Active);
            return;
        }
        let alive_until = model.shut_down().unwrap_or(model.alive_until());
        let in_time = self.now.0 < alive_until;
        let stays =
            model.shut_down().is_none() && (model.holds() > 0 || self.now.0 < model.hop_until());
        if in_time && stays && self.was_open_when_left() {
            assert!(is_open, "torn down too early");
        }
        let in_use = self.state.pass_runs;
        if !in_time && !in_use {
            assert!(!is_open, "open after the budget");
        }
        if in_time && !stays && !in_use && !model.calls.iter().any(|(_, _, at_work)| *at_work) {
            assert!(!is_open, "open although all is done");
        }
        if self.now.0 >= self.over() {
            assert!(!is_open, "open after the end of all budgets");
        }
    }

    /// Since it was last on the screen, nothing has closed it.
    fn was_open_when_left(&self) -> bool {
        // Calls that had ended, or budgets that were over, may have closed it in between.
        let continuous = |(at, budget): (u64, u64)| work_until(at, budget) > self.now.0;
        let left = self.model.last(|(at, said)| match said {
            Said::Foreground => Some(None),
            Said::Background(budget) => Some(Some((*at, *budget))),
            _ => None,
        });
        let still_called = |(at, budget): &(u64, u64)| {
            let mut calls = self.model.calls.iter();
            calls.any(|(began, given, _)| (began, given) == (at, budget))
        };
        let times = self.model.log.iter().filter(|(_, said)| {
            matches!(
                said,
                Said::Background(_) | Said::CallEnds | Said::ShutDown(_)
            )
        });
        left.flatten().is_some_and(|left| {
            continuous(left)
                && still_called(&left)
                && times.filter(|(at, _)| *at >= left.0).count() == 1
        })
    }

    /// Who is still at it at the end has until the end of his budget, or five seconds where nobody has
    /// one. The end of everything is the end.
    fn over(&self) -> u64 {
        let ends = self.model.log.iter().find_map(|(at, said)| match said {
            Said::ShutDown(budget) => Some(at + budget),
            _ => None,
        });
        if let Some(over) = ends {
            return over;
        }
        let budgets = self.model.calls.iter().map(|(at, budget, _)| at + budget);
        let said = self
            .model
            .log
            .iter()
            .filter(|(_, said)| !matches!(said, Said::Wait(_)));
        let said = said.map(|(at, _)| *at).chain(self.model.shut_down());
        budgets.chain(said.map(|at| at + 5_001)).max().unwrap_or(0)
    }
}

fn open() -> (tempfile::TempDir, PeerStorage) {
    let dir = tempfile::tempdir().unwrap();
    let keys = KeysManager::new(&[7; 32], 0, 0, true);
    let config = Config::new(dir.path(), Network::Regtest);
    let storage = PeerStorage::open(config, &keys).unwrap();
    (dir, storage)
}

#[test]
fn ten_thousand_random_days_go_as_the_facts_say() {
    let (_dir, storage) = open();
    let config = ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(day in prop::collection::vec(said(), 1..30))| {
        let mut world = World::new(&storage);
        world.drive();
        for said in day {
            world.hear(said);
            world.drive();
            world.check_rest();
        }
        // Whatever was said: when all calls are over and nobody looks, nothing is left.
        world.hear(Said::Background(0));
        world.hear(Said::Wait(50_000));
        world.drive();
        world.hear(Said::Wait(50_000));
        world.drive();
        prop_assert!(world.ended, "something is left");
    });
}

#[test]
fn an_opening_that_failed_is_tried_again_with_growing_pauses_while_somebody_looks() {
    let (_dir, storage) = open();
    let mut world = World::new(&storage);
    let fail = |world: &mut World, error: StoreError| {
        world.state.place = Place::Opening;
        world.state.not_opened(world.now, error.into());
    };
    let mut pauses = Vec::new();
    for _ in 0..10 {
        fail(&mut world, StoreError::Locked);
        let Step::Wait(Some(at)) = world.state.next_step(world.now) else {
            panic!("it is not tried again");
        };
        pauses.push(at.since(world.now).as_millis());
        world.now = at;
        assert_eq!(world.state.next_step(at), Step::Open);
    }
    let doubled = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000];
    assert_eq!(pauses[..7], doubled);
    assert_eq!(pauses[7..], [60_000; 3]);

    // Nobody looks: nothing waits, in a pass of the background neither.
    fail(&mut world, StoreError::Locked);
    world.hear(Said::Background(0));
    assert_eq!(world.state.next_step(world.now), Step::End);
    world.hear(Said::Call(10_000));
    assert_eq!(world.state.next_step(world.now), Step::End);
    world.hear(Said::Foreground);
    assert!(matches!(
        world.state.next_step(world.now),
        Step::Wait(Some(_))
    ));

    // What does not pass by itself waits for the app.
    fail(&mut world, StoreError::WrongNode);
    assert_eq!(world.state.next_step(world.now), Step::End);

    // Success ends it: the next trouble begins anew.
    fail(&mut world, StoreError::Locked);
    world.state.opened(world.now, storage.clone());
    assert_eq!(world.state.trouble, None);
    fail(&mut world, StoreError::Locked);
    let first = Step::Wait(Some(world.now.after(Duration::from_millis(500))));
    assert_eq!(world.state.next_step(world.now), first);
}

fn missed(peers: &[PublicKey]) -> Visited {
    Visited {
        reached: BTreeSet::new(),
        missed: peers.iter().copied().collect(),
    }
}

#[test]
fn a_peer_that_was_missed_is_tried_again_with_growing_pauses() {
    let sync = AutoSync::default();
    let mut schedule = Schedule::default();
    let (away, other) = (peer(3), peer(4));
    let mut now = Time(0);
    schedule.resumed(now);
    let mut whom = schedule.begin(now);
    assert!(whom.everyone);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        schedule.ended(now, &whom, missed(&[away]), &sync);
        let due = schedule.due_at().unwrap();
        pauses.push(due.since(now).as_secs());
        now = due;
        whom = schedule.begin(now);
        assert!(!whom.everyone && whom.includes(&away, false));
        assert!(!whom.includes(&other, false) && whom.includes(&other, true));
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);

    // A change of the wallet waits for nobody, dials nobody who was just missed, and shortens no pause.
    schedule.ended(now, &whom, missed(&[away]), &sync);
    let due = now.after(sync.longest_pause);
    for _ in 0..3 {
        schedule.wallet_changed(now, &sync);
        assert_eq!(schedule.due_at(), Some(now.after(sync.after_change)));
        now = now.after(sync.after_change);
        let whom = schedule.begin(now);
        assert!(!whom.includes(&away, true) && whom.includes(&other, true));
        schedule.ended(now, &whom, Visited::default(), &sync);
        assert_eq!(schedule.due_at(), Some(due));
    }
    // Who is missed for the first time has a first pause.
    schedule.ended(now, &Whom::default(), missed(&[other]), &sync);
    assert_eq!(schedule.due_at(), Some(now.after(sync.first_pause)));
    // Who is reached before his time is no longer waited for.
    let reached = Visited {
        reached: [away, other].into(),
        ..Visited::default()
    };
    schedule.ended(now, &Whom::default(), reached, &sync);
    assert_eq!(schedule.due_at(), None);

    // A visit of everyone begins anew.
    schedule.ended(now, &Whom::default(), missed(&[away]), &sync);
    schedule.resumed(now);
    let whom = schedule.begin(now);
    assert_eq!(schedule.due_at(), None);
    schedule.ended(now, &whom, missed(&[away]), &sync);
    assert_eq!(schedule.due_at(), Some(now.after(sync.first_pause)));
}

#[test]
fn a_peer_that_is_no_peer_any_more_keeps_nobody_awake() {
    let sync = AutoSync::default();
    let mut schedule = Schedule::default();
    schedule.ended(Time(0), &Whom::default(), missed(&[peer(3)]), &sync);
    let due = schedule.due_at().unwrap();
    let whom = schedule.begin(due);
    schedule.ended(due, &whom, Visited::default(), &sync);
    assert_eq!(schedule.due_at(), None);
}

#[test]
fn a_wallet_that_changes_all_the_time_is_visited_for_in_the_end() {
    let sync = AutoSync::default();
    let mut schedule = Schedule::default();
    let mut now = Time(0);
    let second = Duration::from_secs(1);
    // Until it is quiet for so long...
    for _ in 0..5 {
        schedule.wallet_changed(now, &sync);
        assert_eq!(schedule.due_at(), Some(now.after(sync.after_change)));
        now = now.after(second);
    }
    // ...or it has gone on for ten times as long.
    for _ in 0..60 {
        schedule.wallet_changed(now, &sync);
        now = now.after(second);
    }
    assert_eq!(
        schedule.due_at(),
        Some(Time(0).after(sync.after_change * 10))
    );
    schedule.begin(now);
    schedule.wallet_changed(now, &sync);
    assert_eq!(schedule.due_at(), Some(now.after(sync.after_change)));
}

#[test]
fn what_could_not_be_tried_stays_due_as_it_was() {
    let sync = AutoSync::default();
    let mut schedule = Schedule::default();
    schedule.ended(Time(0), &Whom::default(), missed(&[peer(3)]), &sync);
    let mut now = Time(0).after(sync.first_pause);
    schedule.resumed(now);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let whom = schedule.begin(now);
        assert!(whom.everyone);
        schedule.failed(now, whom, &sync);
        let due = schedule.due_at().unwrap();
        pauses.push(due.since(now).as_secs());
        now = due;
    }
    assert_eq!(pauses, [5, 10, 20]);
    // What stood in the way has gone.
    let earlier = Time(now.0 - 1_000);
    schedule.retry(earlier);
    assert_eq!(schedule.due_at(), Some(earlier));
    // A peer that was missed is no nearer by that.
    let whom = schedule.begin(earlier);
    schedule.ended(earlier, &whom, missed(&[peer(3)]), &sync);
    schedule.retry(earlier);
    assert_eq!(schedule.due_at(), Some(earlier.after(sync.first_pause)));
}

fn peer(n: u8) -> PublicKey {
    let secp = bitcoin::secp256k1::Secp256k1::new();
    let secret = bitcoin::secp256k1::SecretKey::from_slice(&[n; 32]).unwrap();
    PublicKey::from_secret_key(&secp, &secret)
}
