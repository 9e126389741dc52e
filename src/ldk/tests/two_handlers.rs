//! A session's handler beside that of the node, at a peer that is connected to both for a moment.

use super::*;
use crate::ldk::QuietHandler;

fn visit(bench: &Bench) -> PeerStorageHandler<Arc<QuietHandler>> {
    let quiet = Arc::new(QuietHandler::new(Network::Regtest));
    let visit = bench.storage.message_handler(quiet);
    visit.peer_connected(peer(), &init(), false).unwrap();
    visit
}

#[test]
fn the_end_of_a_visit_opens_no_gate_of_the_node() {
    let bench = Bench::new();
    let visit = visit(&bench);
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    visit.peer_disconnected(peer());
    bench.inner.say(shutdown(channel()));
    assert_eq!(bench.sent(), [""; 0]);
    bench.reestablish(channel(), 5, 4);
    assert_eq!(bench.inner.heard(), ["handle_channel_reestablish"]);
    assert_eq!(bench.sent(), ["ChannelReestablish", "Shutdown"]);
}

#[test]
fn what_a_visit_hears_late_is_not_of_the_nodes_connection() {
    let bench = Bench::new();
    let visit = visit(&bench);
    bench.inner.say_on_connect(send_reestablish(5, 4));
    bench.connect(peer());
    let data = vec![1; 300];
    visit.handle_peer_storage_retrieval(peer(), PeerStorageRetrieval { data });
    visit.handle_channel_reestablish(peer(), &reestablish(channel(), 5, 4));
    let awaits = |exchange: &crate::exchange::Exchange| exchange.awaits_retrieval(&peer());
    assert!(bench.storage.engine().look(awaits));
    assert_eq!(bench.sent(), [""; 0]);
}

#[test]
fn a_visit_takes_no_message_that_is_for_a_peer_of_the_node() {
    let bench = Bench::new();
    let visit = visit(&bench);
    bench.connect(stranger());
    let data = vec![9; 300];
    let refused = PeerStorage { data };
    bench.handler.handle_peer_storage(stranger(), refused);
    bench.storage.engine().settle(Duration::from_secs(5));
    assert!(visit.get_and_clear_pending_msg_events().is_empty());
    assert_eq!(bench.sent(), ["HandleError"]);
}
