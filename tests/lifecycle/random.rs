//! Random days against the real thing, with a real storer.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ldk_peer_storage::lifecycle::Unavailable;
use ldk_peer_storage::session::Work;
use lightning::util::logger::{Logger, Record};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::{wait_until, WireTap, DEADLINE};

use crate::stage::{within, Phone, LONG};

const DAYS: u32 = 300;

#[derive(Clone, Debug)]
enum Said {
    Foreground,
    Background(u64),
    Pass(u64),
    Sync(u64),
    NodeCheck(u64),
    Network(bool),
    HostNode(bool),
    Hold,
    Release,
    Write,
    Wait(u64),
}

fn said() -> impl Strategy<Value = Said> {
    let budget = || 0..300u64;
    prop_oneof![
        3 => Just(Said::Foreground),
        3 => budget().prop_map(Said::Background),
        1 => budget().prop_map(Said::Pass),
        1 => budget().prop_map(Said::Sync),
        1 => budget().prop_map(Said::NodeCheck),
        2 => any::<bool>().prop_map(Said::Network),
        2 => any::<bool>().prop_map(Said::HostNode),
        1 => Just(Said::Hold),
        1 => Just(Said::Release),
        3 => Just(Said::Write),
        2 => (0..60u64).prop_map(Said::Wait),
    ]
}

struct Silent;

impl Logger for Silent {
    fn log(&self, _record: Record) {}
}

#[test]
fn hundreds_of_random_days_keep_to_the_rules() {
    let wire = Arc::new(WireTap::new(Arc::new(Silent)));
    let phone = Phone::settled_with(|config| {
        config.linger = Duration::from_millis(30);
        config.session.logger = Some(wire.clone());
    });
    let days = prop::collection::vec(said(), 1..12);
    let config = ProptestConfig {
        cases: DAYS,
        failure_persistence: None,
        // A day cannot be lived again just as it was.
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let number = std::cell::Cell::new(0u32);
    TestRunner::new(config)
        .run(&days, |day| {
            live(&phone, &wire, &day, &number);
            Ok(())
        })
        .unwrap();
    assert_eq!(phone.keeper.raw.panicked(), None);
}

fn live(phone: &Phone, wire: &WireTap, day: &[Said], number: &std::cell::Cell<u32>) {
    let life = &phone.life;
    let peers = [phone.keeper.record()];
    let mut holds = Vec::new();
    let (mut network, mut visible) = (true, true);
    // The node runs; or it was allowed to start, and nothing was said since.
    let (mut node_runs, mut node_may_run) = (false, false);
    // What was acknowledged as durable.
    let mut durable = None;
    let mut calm_since = None;
    for said in day {
        match said {
            Said::Foreground => {
                visible = true;
                life.on_foreground();
            }
            Said::Background(ms) => {
                visible = false;
                let budget = Duration::from_millis(*ms);
                let report = within(budget, || life.on_background(budget));
                assert!(report.suspended && !report.visible_again, "{report:?}");
            }
            Said::Pass(ms) => {
                let budget = Duration::from_millis(*ms);
                let report = within(budget, || life.run_background_pass(budget));
                assert_eq!(report.suspended, !visible, "{report:?}");
            }
            Said::Sync(ms) => {
                let budget = Duration::from_millis(*ms);
                let synced = within(budget, || {
                    life.sync_with_peers(&peers, Work::default(), budget)
                });
                if let Err(error) = synced {
                    let obstructed = !network || node_runs || node_may_run || !holds.is_empty();
                    match error {
                        Unavailable::Obstacle(_) => assert!(obstructed),
                        Unavailable::Suspended => assert!(!visible),
                        // It was just being opened, or a visit was ending.
                        Unavailable::Busy => assert!(visible && *ms < 100),
                        other => panic!("{other:?}"),
                    }
                }
            }
            Said::NodeCheck(ms) => {
                let budget = Duration::from_millis(*ms);
                within(budget, || life.check_before_node_start(budget));
                // Who asks says that it does not run on the last answer.
                if std::mem::replace(&mut node_may_run, true) {
                    calm_since = None;
                }
            }
            Said::Network(there) => {
                network = *there;
                life.on_network_changed(network);
            }
            Said::HostNode(runs) => {
                (node_runs, node_may_run) = (*runs, false);
                life.on_host_node_changed(node_runs);
            }
            Said::Hold => holds.push(life.hold()),
            Said::Release => drop(holds.pop()),
            Said::Write => {
                let next = number.get() + 1;
                number.set(next);
                let data = next.to_be_bytes().to_vec();
                match life.durably(|storage| storage.set_app_data(data.clone())) {
                    Ok(()) => durable = Some(data),
                    Err(error) => assert!(!visible, "{error:?}"),
                }
            }
            Said::Wait(ms) => thread::sleep(Duration::from_millis(*ms)),
        }
        let obstructed = !network || node_runs || node_may_run || !holds.is_empty();
        if !obstructed {
            calm_since = None;
        } else if calm_since.is_none() {
            // What was under way ends; from then on nothing is said to anyone.
            wait_until("the end of visits", DEADLINE, || !life.status().visiting);
            calm_since = Some(wire.mark());
        } else {
            assert_eq!(calm_since, Some(wire.mark()), "a visit beside an obstacle");
        }
        if !visible {
            assert_eq!(life.opening(), None);
            assert!(!life.status().visiting, "a visit of a suspended app");
            phone.assert_free();
        }
    }
    drop(holds);
    life.on_network_changed(true);
    life.on_host_node_changed(false);
    life.on_foreground();
    // Nothing that was acknowledged is lost.
    if let Some(data) = durable {
        phone.tell();
        phone.keeper.wait_for(&data);
    }
    assert!(life.on_background(LONG).suspended);
    phone.assert_free();
    life.on_foreground();
    life.storage().unwrap();
}
