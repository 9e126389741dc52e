//! The storers of the world: processes that are started, killed and ended by it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "scenarios/world.rs"]
mod world;

use std::net::{SocketAddr, TcpStream};

use serde_json::{json, Map, Value};
use testkit::{wait_until, DEADLINE};
use world::World;

/// A world with one storer, `sara`, and where she is.
fn with_a_storer(name: &str) -> (World, SocketAddr) {
    let mut world = World::start();
    let peers = json!([{ "name": "sara", "kind": "storer" }]);
    let started = ask(&mut world, "start", json!({ "name": name, "peers": peers }));
    let addresses = &started.unwrap()["peers"]["sara"]["addresses"];
    let address = addresses[0].as_str().unwrap();
    (world, address.parse().unwrap())
}

fn ask(world: &mut World, command: &str, args: Value) -> Result<Value, String> {
    let args: Map<String, Value> = serde_json::from_value(args).unwrap();
    world.ask(command, &args)
}

fn listens(addr: SocketAddr) -> bool {
    TcpStream::connect(addr).is_ok()
}

#[test]
fn a_storer_is_stopped_killed_and_started_again_where_it_was() {
    let (mut world, addr) = with_a_storer("storers_come_and_go");
    let sara = || json!({ "peer": "sara" });
    assert!(addr.ip().is_loopback());
    for end in ["peer_stop", "peer_kill"] {
        assert!(listens(addr));
        ask(&mut world, end, sara()).unwrap();
        assert!(!listens(addr), "after {end}");
        let again = ask(&mut world, end, sara());
        assert!(again.unwrap_err().contains("the peer runs"));
        ask(&mut world, "peer_start", sara()).unwrap();
    }
    assert!(listens(addr));
    let heard = ask(&mut world, "heard", sara());
    assert!(heard.unwrap_err().contains("a storer"));
}

#[test]
fn a_host_lists_its_storers_even_before_its_node_was_started() {
    let (mut world, addr) = with_a_storer("storers_listed");
    let report = ask(&mut world, "channels", json!({})).unwrap()["report"].take();
    let peer = &report["peers"][0];
    assert_eq!(peer["addresses"], json!([addr.to_string()]));
    assert_eq!(report["keep_backups_at"], json!([peer["node_id"]]));
}

#[test]
fn storers_end_with_the_input_of_the_world() {
    let (world, addr) = with_a_storer("storers_end");
    drop(world);
    assert!(!listens(addr));
}

#[test]
fn storers_end_also_where_the_world_is_killed() {
    let (world, addr) = with_a_storer("storers_of_a_killed_world");
    world.kill();
    wait_until("the storer to end", DEADLINE, || !listens(addr));
}
