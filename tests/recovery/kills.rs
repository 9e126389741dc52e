//! A recovery that is killed goes on.

use testkit::{pay, ChannelType, KeyDerivation};

use crate::stage::Stage;

#[test]
fn a_recovery_that_is_stopped_after_every_step_ends_with_the_same_coins() {
    let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
    let peer = stage.stock("peer");
    let phone = stage.wallet("phone");
    stage.fund(&phone, &peer);
    pay(&phone.node, &peer, 10_000_000);
    stage.back_up(&phone, &[&peer]);
    let lost = stage.lose(phone);
    let mut rescuer = stage.rescuer(&lost);
    rescuer.agree(&[&peer]);
    for _ in 0..40 {
        let progress = rescuer.step();
        if progress.done {
            assert_eq!(progress.recovered_sat + progress.fees_sat, 490_000);
            assert_eq!(progress.channels[0].asked, 1);
            assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
            return;
        }
        rescuer.stop();
        stage.chain.mine(1);
        rescuer = stage.rescuer(&lost);
        assert!(rescuer.recovery.is_begun());
    }
    panic!("not done after 40 blocks");
}
