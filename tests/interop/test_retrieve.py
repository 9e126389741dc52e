"""What `peer-storage retrieve` makes of what storers return: the newest that opens, and never a word of its own."""

import unittest

import bolt
from owner import Owner, Storer, blob_in, channel, reestablish

DOES_NOT_OPEN = "what it returned does not open"


class Retrieve(unittest.TestCase):
    def setUp(self):
        self.owner = Owner(self)
        self.storer = Storer(self)
        self.channel = channel(self.storer)
        self.blob = self.owner.backup(self.storer, self.channel)

    def answers(self, retrieve, code):
        """What it says of each peer, by node id."""
        self.assertEqual(retrieve.ended(), code, retrieve.said())
        self.event = retrieve.event("retrieved")
        return {answer["peer"]: answer for answer in self.event["answers"]}

    def newer(self, *channels):
        """A second backup, which the first storer keeps."""
        wallet = self.owner.wallet(*channels, peers=[self.storer])
        push = self.owner.push(wallet)
        [sent] = self.storer.give(self.blob, channels)
        self.storer.give(blob_in(sent), channels)
        self.assertEqual(push.ended(), 0, push.said())
        return blob_in(sent)

    def test_what_was_pushed_comes_back_and_nothing_is_said_to_that(self):
        retrieve = self.owner.retrieve(self.storer)
        peer = self.storer.accept()
        self.assertIn(bolt.PROVIDE_STORAGE, bolt.features(peer.their_init))
        self.assertEqual(peer.heard(), [], "a phone that has lost all sends nothing before it has read")
        peer.send(bolt.retrieval(self.blob), reestablish(self.channel))
        # No 7, no 136, no error: the channels stay open.
        self.assertEqual(peer.rest(), [])
        answer = self.answers(retrieve, 0)[self.storer.id.hex()]
        self.assertEqual((answer["backup"], answer["newest"]), ("1.1", True))
        [known] = self.event["channels"]
        for field in ("peer", "short_channel_id", "channel_id", "update_id", "kind", "value_sat"):
            self.assertEqual(known[field], self.channel[field])
        [place] = self.event["peers"]
        self.assertEqual(place, {
            "node_id": self.storer.id.hex(), "addresses": [f"127.0.0.1:{self.storer.port}"],
        })

    def test_a_9_behind_a_136_or_other_messages_is_read_too(self):
        gossip = bolt.message(265, bytes(40))
        ready = bolt.message(36, bytes(32) + bolt.fields(reestablish(self.channel))["my_current_per_commitment_point"])
        orders = {
            "Eclair": [reestablish(self.channel), bolt.message(39409, bytes(40)), bolt.retrieval(self.blob)],
            "an older LND": [gossip, ready, reestablish(self.channel), bolt.retrieval(self.blob)],
            "Core Lightning": [bolt.storage(bytes(344)), bolt.retrieval(self.blob), reestablish(self.channel)],
        }
        for who, messages in orders.items():
            with self.subTest(who):
                retrieve = self.owner.retrieve(self.storer, directory=who)
                peer = self.storer.accept()
                peer.send(*messages)
                self.assertEqual(peer.rest(), [], "all of it is passed over in silence")
                self.answers(retrieve, 0)

    def test_what_does_not_open_is_said_and_nothing_is_made_of_it(self):
        other = Owner(self, "another wallet").backup(self.storer, self.channel)
        blob = self.blob
        spoiled = {
            "a version from the future": b"\2" + blob[1:],
            "a bit of the nonce": blob[:1] + bytes([blob[1] ^ 1]) + blob[2:],
            "a bit in the middle": blob[:500] + bytes([blob[500] ^ 1]) + blob[501:],
            "a bit of the tag": blob[:-1] + bytes([blob[-1] ^ 0x80]),
            "one byte less": blob[:-1],
            "half of it": blob[:512],
            "one byte more": blob + b"\0",
            "one byte": b"\1",
            "nothing": b"",
            "zeros": bytes(1024),
            "as much as there can be": bytes([1]) * bolt.MOST,
            "that of another wallet": other,
        }
        for what, returned in spoiled.items():
            with self.subTest(what):
                retrieve = self.owner.retrieve(self.storer, directory=what)
                self.assertEqual(self.storer.give(returned, [self.channel]), [])
                answer = self.answers(retrieve, 3)[self.storer.id.hex()]
                self.assertEqual(answer, {"peer": self.storer.id.hex(), "why": DOES_NOT_OPEN})
                self.assertIsNone(self.event["newest"])
                self.assertEqual(self.event["channels"], [])
                self.assertIn("no backup was found", retrieve.said())

    def test_a_9_that_cannot_be_read_ends_the_connection_and_a_later_one_is_taken(self):
        retrieve = self.owner.retrieve(self.storer)
        # Core Lightning as it was seen with a large backup of its own: the length is cut to 16 bits.
        peer = self.storer.accept()
        peer.send_cut(bolt.message(bolt.PEER_STORAGE, bytes(66_000)))
        self.assertEqual(peer.rest(), [])
        for broken in (bolt.retrieval(self.blob)[:-1], bolt.message(bolt.RETRIEVAL), bolt.retrieval(b"x") + b"\2\0"):
            peer = self.storer.accept()
            peer.send(broken)
            self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.WARNING})
        # It dials again whoever hangs up, or has to be hung up on. A record that it may ignore, it does.
        peer = self.storer.accept()
        peer.send(bolt.retrieval(self.blob) + b"\3\1\0", reestablish(self.channel))
        self.assertEqual(peer.rest(), [])
        self.answers(retrieve, 0)

    def test_of_two_9s_on_one_connection_the_first_counts(self):
        newer = self.newer(self.channel, channel(self.storer, 2))
        retrieve = self.owner.retrieve(self.storer)
        peer = self.storer.accept()
        peer.send(bolt.retrieval(self.blob), bolt.retrieval(newer), reestablish(self.channel))
        peer.rest()
        self.answers(retrieve, 0)
        self.assertEqual(self.event["newest"], "1.1")

    def test_of_several_storers_the_newest_counts_whoever_returns_it(self):
        newer = self.newer(self.channel, channel(self.storer, 2))
        # It was never sent this: that it is ours shows in the blob alone.
        other = Storer(self, "another storer")
        retrieve = self.owner.retrieve(self.storer, other)
        self.assertEqual(self.storer.give(self.blob, [self.channel]), [])
        self.assertEqual(other.give(newer), [])
        answers = self.answers(retrieve, 0)
        self.assertEqual(self.event["newest"], "1.2")
        self.assertEqual(len(self.event["channels"]), 2)
        self.assertEqual((answers[self.storer.id.hex()]["newest"], answers[other.id.hex()]["newest"]), (False, True))

    def test_a_storer_alone_can_play_back_an_older_one_and_no_later_run_loses_the_newer(self):
        newer = self.newer(self.channel, channel(self.storer, 2))
        for blob, newest in ((self.blob, "1.1"), (newer, "1.2"), (self.blob, "1.2")):
            retrieve = self.owner.retrieve(self.storer)
            self.storer.give(blob, [self.channel])
            self.answers(retrieve, 0)
            self.assertEqual(self.event["newest"], newest)

    def test_who_says_nothing_and_who_has_nothing_are_told_apart(self):
        silent, empty = Storer(self, "silent"), Storer(self, "empty")
        retrieve = self.owner.retrieve(self.storer, silent, empty, budget=8)
        quiet = silent.accept()
        self.storer.give(self.blob, [self.channel])
        peer = empty.accept()
        peer.send(reestablish(self.channel))
        self.assertEqual(peer.rest(), [])
        self.assertEqual(quiet.rest(), [])
        answers = self.answers(retrieve, 3)
        self.assertNotIn("why", answers[self.storer.id.hex()])
        self.assertIn("said nothing in time", answers[silent.id.hex()]["why"])
        self.assertEqual(answers[empty.id.hex()]["why"], "has nothing")
        self.assertEqual(self.event["newest"], "1.1")


if __name__ == "__main__":
    unittest.main()
