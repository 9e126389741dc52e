//! A peer that was away when the recovery began holds a newer backup.

use ldk_peer_storage::recovery::KnownBy;
use testkit::{pay, ChannelType, KeyDerivation};

use crate::stage::{consent, record, Stage, BUDGET};

#[test]
fn a_late_peer_with_a_newer_backup_adds_a_channel_to_a_recovery_that_has_begun() {
    for restore_has_ended in [false, true] {
        let stage = Stage::new(ChannelType::Anchors, KeyDerivation::V2);
        let (anna, bert, carl) = (
            stage.stock("anna"),
            stage.stock("bert"),
            stage.stock("carl"),
        );
        let phone = stage.wallet("phone");
        for peer in [&anna, &bert] {
            stage.fund(&phone, peer);
            pay(&phone.node, peer, 10_000_000);
        }
        stage.back_up(&phone, &[&anna, &bert]);
        // Of the third channel only Bert learns.
        phone.node.disconnect_from(&anna);
        stage.fund(&phone, &carl);
        pay(&phone.node, &carl, 10_000_000);
        phone.node.disconnect_from(&carl);
        stage.back_up(&phone, &[&bert]);
        let lost = stage.lose(phone);
        let addr = bert.addr();
        bert.stop();

        let mut rescuer = stage.rescuer(&lost);
        let plan = rescuer.agree(&[&anna]);
        assert_eq!((plan.channels.len(), plan.unheard.len()), (2, 1));
        let progress = rescuer.step();
        assert_eq!(progress.channels.len(), 2);
        if restore_has_ended {
            rescuer.storage.finish_restore().unwrap();
        }
        stage.chain.mine(1);
        rescuer.step();

        let bert = testkit::Node::start(stage.config("bert").listen(addr.port()));
        // The backup names all, but knows no address of Carl's where it is small.
        let known = [record(&anna), record(&bert), record(&carl)];
        let plan = rescuer
            .recovery
            .plan_again(&rescuer.session, &known, BUDGET);
        let plan = plan.unwrap();
        assert_eq!(plan.channels.len(), 3, "ended: {restore_has_ended}");
        assert!(plan.channels.iter().all(|c| c.known_by == KnownBy::Backup));
        assert!(plan.unheard.is_empty(), "ended: {restore_has_ended}");
        rescuer.recovery.agree(&plan, &consent(&plan)).unwrap();
        let progress = rescuer.finish();
        assert_eq!(progress.channels.len(), 3);
        assert_eq!(progress.recovered_sat + progress.fees_sat, 3 * 490_000);
        assert_eq!(rescuer.arrived().to_sat(), progress.recovered_sat);
        assert!(rescuer.storage.known().channels.is_empty());
    }
}
