"""What `peer-storage push` says to its storers, and when: what it sends is all that a phone's loss leaves."""

import unittest

import bolt
from clock import Clock, needs_a_clock
from owner import Owner, Storer, blob_in, channel, reestablish

DAY = 86_400

# LDK's own words, at a blob that is too large for it.
UP_TO_1024 = "Supports only data up to 1024 bytes in peer storage."


class Push(unittest.TestCase):
    def setUp(self):
        self.owner = Owner(self)
        self.storer = Storer(self)
        self.channel = channel(self.storer)

    def start(self, *channels, peers=None, **more):
        wallet = self.owner.wallet(*(channels or [self.channel]), peers=peers or [self.storer])
        return self.owner.push(wallet, **more)

    def assert_ends(self, push, code, words, verified):
        self.assertEqual(push.ended(), code, push.said())
        [of_storer] = push.event("pushed")["peers"]
        self.assertEqual(of_storer["words"], words)
        self.assertEqual(of_storer["verified"], verified)

    def test_one_backup_is_sent_and_counts_once_it_has_come_back_on_another_connection(self):
        push = self.start()
        peer = self.storer.accept()
        offered = bolt.features(peer.their_init)
        # Core Lightning returns nothing to whoever does not keep blobs itself.
        self.assertIn(bolt.PROVIDE_STORAGE, offered)
        self.assertNotIn(bolt.PROVIDE_STORAGE - 1, offered)
        peer.send(reestablish(self.channel))
        [sent] = peer.rest()
        blob = blob_in(sent)
        self.assertEqual(sent, bolt.storage(blob), "no byte more than a 7 has")
        self.assertEqual(self.storer.give(blob, [self.channel]), [], "it has come back: nothing is due")
        self.assert_ends(push, 0, "has it, and has shown it", True)

    def test_a_backup_is_of_a_stated_size_and_sealed_anew_each_time(self):
        blobs = []
        for directory in ("one", "another"):
            blobs.append(self.owner.backup(self.storer, self.channel, directory=directory))
        private = [
            self.storer.id, self.storer.id[1:], bytes.fromhex(self.channel["channel_id"]),
            self.storer.port.to_bytes(2, "big") + b"\0", bytes([127, 0, 0, 1]), b"127.0.0.1",
            (1_000_000).to_bytes(4, "big"), bytes(8),
        ]
        for blob in blobs:
            self.assertEqual(len(blob), 1024)
            for secret in private:
                self.assertNotIn(secret, blob)
        first, second = (blob[1:] for blob in blobs)
        same = sum(a == b for a, b in zip(first, second))
        self.assertLess(same, 40, "of 1023 random bytes about four are equal")

    def test_nothing_is_sent_to_a_peer_that_does_not_offer_to_keep_blobs(self):
        push = self.start()
        without = bolt.FEATURES - {bolt.PROVIDE_STORAGE}
        peer = self.storer.accept(without)
        peer.send(reestablish(self.channel))
        self.assertEqual(peer.rest(), [])
        words = "was not sent it: it does not keep backups for this node, or an alarm stands"
        self.assert_ends(push, 3, words, False)
        # Whether it is offered or required makes no difference.
        push = self.start()
        peer = self.storer.accept(without | {bolt.PROVIDE_STORAGE - 1})
        peer.send(reestablish(self.channel))
        blob = blob_in(peer.rest()[-1])
        self.storer.give(blob, [self.channel])
        self.assertEqual(push.ended(), 0, push.said())

    def test_a_peer_of_a_channel_that_stays_silent_is_sent_nothing(self):
        push = self.start(budget=4)
        self.assertEqual(self.storer.accept().rest(), [])
        self.assert_ends(push, 3, "said nothing in time, so it was sent nothing", False)

    @needs_a_clock
    def test_who_has_no_channel_gets_thirty_seconds_to_return_something_and_who_has_one_gets_forever(self):
        for says in (reestablish(self.channel), bolt.retrieval(b"\1 something that does not open")):
            with self.subTest(bolt.number(says)):
                clock, stranger = Clock(self.owner.home), Storer(self, "no channel")
                directory = f"push-{bolt.number(says)}"
                push = self.start(
                    peers=[self.storer, stranger], directory=directory, environment=clock.environment
                )
                of_channel, without = self.storer.accept(), stranger.accept()
                for ahead in (0, 15):
                    clock.put_ahead(ahead)
                    without.send(WAKE_UP)
                    self.assertEqual(without.heard() + of_channel.heard(), [])
                # It says a word to those that it refuses once a minute, and only then looks at its clock.
                clock.put_ahead(DAY)
                without.send(WAKE_UP)
                self.assertEqual(bolt.number(without.receive()), bolt.PEER_STORAGE)
                self.assertEqual(of_channel.heard(), [])
                of_channel.send(says)
                self.assertEqual(bolt.number(of_channel.receive()), bolt.PEER_STORAGE)
                push.kill()
                of_channel.rest(), without.rest()

    def test_what_comes_back_spoiled_does_not_count_and_is_replaced(self):
        blob = self.owner.backup(self.storer, self.channel)
        other = Owner(self, "another wallet").backup(self.storer, self.channel)
        spoiled = {
            "one bit": blob[:500] + bytes([blob[500] ^ 1]) + blob[501:],
            "one byte less": blob[:-1],
            "one byte more": blob + b"\0",
            "nothing": b"",
            "that of another wallet": other,
        }
        for what, returned in spoiled.items():
            with self.subTest(what):
                push = self.start()
                [sent] = self.storer.give(returned, [self.channel])
                self.assertEqual(len(blob_in(sent)), 1024)
                [again] = self.storer.give(returned, [self.channel])
                self.assertEqual(len(blob_in(again)), 1024)
                self.assert_ends(push, 3, "was sent it", False)
        push = self.start()
        self.storer.give(blob, [self.channel])
        self.assert_ends(push, 0, "has it, and has shown it", True)

    def test_a_backup_of_a_version_that_is_not_known_is_not_overwritten(self):
        # A phone may have been set back to an older version of the app.
        blob = self.owner.backup(self.storer, self.channel)
        push = self.start(directory="an older version of the app")
        self.assertEqual(self.storer.give(b"\2" + blob[1:], [self.channel]), [])
        words = "was not sent it: it does not keep backups for this node, or an alarm stands"
        self.assert_ends(push, 3, words, False)

    def test_an_older_backup_that_comes_back_does_not_count_and_the_newest_is_sent_again(self):
        old = self.owner.backup(self.storer, self.channel)
        moved = {**self.channel, "update_id": 2}
        push = self.start(moved)
        [sent] = self.storer.give(old, [moved])
        self.assertNotEqual(blob_in(sent), old)
        # At its second connection it still has no more than that: played back, or lost in a crash.
        [again] = self.storer.give(old, [moved])
        self.assert_ends(push, 3, "was sent it", False)
        push = self.start(moved)
        self.storer.give(blob_in(again), [moved])
        self.assert_ends(push, 0, "has it, and has shown it", True)

    def test_a_backup_that_knows_more_than_the_wallet_is_an_alarm_and_is_not_overwritten(self):
        newer = self.owner.backup(self.storer, {**self.channel, "update_id": 2})
        push = self.start(directory="an old copy")
        self.assertEqual(self.storer.give(newer, [self.channel]), [])
        self.assertEqual(push.ended(), 7, push.said())
        self.assertIn("newer channel state", push.said())

    def test_what_comes_back_on_the_connection_on_which_it_was_sent_has_proved_nothing(self):
        # Core Lightning has been seen to return what it was sent a moment ago.
        push = self.start()
        peer = self.storer.accept()
        peer.send(reestablish(self.channel))
        sent = peer.receive()
        peer.send_if_there(bolt.retrieval(blob_in(sent)), reestablish(self.channel))
        self.assertEqual(peer.rest(), [], "it is not sent twice")
        peer = self.storer.accept()
        peer.send(reestablish(self.channel))
        [again] = peer.rest()
        self.assertEqual(len(blob_in(again)), 1024)
        self.assert_ends(push, 3, "was sent it", False)

    def test_a_storer_of_1024_bytes_is_sent_a_small_blob_first_and_no_large_one_once_it_has_warned(self):
        many = [channel(self.storer, number) for number in range(1, 60)]
        push = self.start(*many)
        # The large one is what it warns of. `push` hangs up right behind it: so this has to be there by then.
        peer = self.storer.accept()
        peer.send(*map(reestablish, many[:1]), bolt.warning(UP_TO_1024))
        small, large = map(blob_in, peer.rest())
        self.assertEqual((len(small), len(large)), (1024, 4096))
        self.assertEqual(self.storer.give(small, many[:1]), [], "there is nothing better for it")
        self.assert_ends(push, 0, "has it, and has shown it", True)

        more = [*many, channel(self.storer, 60)]
        push = self.start(*more)
        [smaller] = self.storer.give(small, more[:1])
        self.assertEqual(len(blob_in(smaller)), 1024)
        self.storer.give(blob_in(smaller), more[:1])
        self.assert_ends(push, 0, "has it, and has shown it", True)

    def test_a_storer_of_all_is_sent_the_large_blob_alone_once_it_has_returned_one(self):
        many = [channel(self.storer, number) for number in range(1, 60)]
        push = self.start(*many)
        peer = self.storer.accept()
        peer.send(reestablish(many[0]))
        small, large = map(blob_in, peer.rest())
        self.assertEqual(self.storer.give(large, many[:1]), [])
        self.assert_ends(push, 0, "has it, and has shown it", True)
        many.append(channel(self.storer, 60))
        push = self.start(*many)
        [sent] = self.storer.give(large, many[:1])
        self.assertEqual(len(blob_in(sent)), 4096)
        self.storer.give(blob_in(sent), many[:1])
        self.assert_ends(push, 0, "has it, and has shown it", True)

    def test_what_a_peer_says_besides_is_answered_ignored_or_ends_the_connection_as_bolt_1_has_it(self):
        push = self.start()
        peer = self.storer.accept()
        for ignored in (39409, 65535):
            peer.send(bolt.message(ignored, b"anything"))
        peer.send(bolt.ping(1000))
        pong = peer.receive()
        self.assertEqual((bolt.number(pong), len(bolt.fields(pong)["ignored"])), (bolt.PONG, 1000))
        # A channel's peer may know records that this project does not.
        channel_id = bytes.fromhex(self.channel["channel_id"])
        known = bolt.fields(reestablish(self.channel))["my_current_per_commitment_point"]
        extended = bolt.reestablish(channel_id, 1, 0, bytes(32), known, bytes([0x7F, 2, 1, 1]))
        peer.send(extended)
        [sent] = peer.rest()
        # Whoever says what nobody may ignore is left, and dialled again.
        peer = self.storer.accept()
        peer.send(bolt.message(40000))
        self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.WARNING})
        self.assertEqual(self.storer.give(blob_in(sent), [self.channel]), [])
        self.assert_ends(push, 0, "has it, and has shown it", True)


# A 7 that is refused: beside a word for the peer it has `push` look at its clock.
WAKE_UP = bolt.storage(b"keep this")


if __name__ == "__main__":
    unittest.main()
