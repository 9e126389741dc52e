"""A connection with `peer-storage serve`: handshake, `init`, pings, and what neither side knows (BOLT #1, #8)."""

import unittest

import bolt
import programs
from peer import HungUp, Node

REGTEST = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")
MAINNET = bytes.fromhex("6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000")


class Connection(unittest.TestCase):
    def setUp(self):
        self.owner = Node("owner")
        self.storer = programs.Storer(self, programs.home(self), self.owner)
        peer = self.owner.connect(self.storer)
        peer.send(bolt.storage(b"what is kept"))
        peer.heard()
        peer.leave()

    def assert_kept(self, blob=b"what is kept"):
        peer = self.owner.connect(self.storer)
        self.assertEqual(peer.receive(), bolt.retrieval(blob))
        peer.leave()

    def test_its_init_offers_to_keep_blobs_and_names_its_network(self):
        peer = self.owner.connect(self.storer)
        init = bolt.fields(peer.their_init)
        self.assertEqual(bytes(init["tlvs"]["networks"]["chains"]), REGTEST)
        offered = bolt.features(peer.their_init)
        self.assertIn(bolt.PROVIDE_STORAGE, offered)
        # Required: whoever does not keep blobs would have to hang up.
        self.assertNotIn(bolt.PROVIDE_STORAGE - 1, offered)

    def test_whoever_dials_another_node_id_gets_no_answer(self):
        with self.assertRaises(HungUp):
            self.owner.dial(self.storer, Node("somebody else").id)
        self.assert_kept()

    def test_before_init_nothing_else_may_come(self):
        peer = self.owner.dial(self.storer)
        peer.send(bolt.storage(b"too early"))
        self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.INIT})
        self.assert_kept()

    def test_a_node_of_another_network_or_with_a_feature_that_nobody_knows_is_hung_up_on(self):
        networks = bytes([1, 32])
        good = bolt.init(extension=networks + REGTEST)
        for first in (bolt.init(extension=networks + MAINNET), bolt.init(bolt.FEATURES | {252})):
            with self.subTest(first[-40:].hex()):
                peer = self.owner.dial(self.storer)
                peer.send(first)
                self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.INIT})
        peer = self.owner.dial(self.storer)
        peer.send(good)
        self.assertEqual(bolt.number(peer.receive()), bolt.INIT)
        self.assertEqual(peer.receive(), bolt.retrieval(b"what is kept"))

    def test_a_ping_is_answered_with_as_many_bytes_as_it_asks_for(self):
        peer = self.owner.connect(self.storer)
        self.assertEqual(peer.receive(), bolt.retrieval(b"what is kept"))
        for count in (0, 1, 1000, 65531):
            peer.send(bolt.ping(count, padding=20))
            pong = peer.receive()
            self.assertEqual((bolt.number(pong), len(bolt.fields(pong)["ignored"])), (bolt.PONG, count))
        # From 65532 on no answer is due: it would not fit into a message.
        peer.send(bolt.ping(65532))
        self.assertEqual(peer.heard(), [])

    def test_keys_rotate_in_both_directions(self):
        peer = self.owner.connect(self.storer)
        self.assertEqual(peer.receive(), bolt.retrieval(b"what is kept"))
        # After 500 messages of either side, and after 500 more (BOLT #8).
        for _ in range(400):  # Three pings each.
            self.assertEqual(peer.heard(), [])
        peer.send(bolt.storage(b"with the third keys"))
        peer.heard()
        peer.leave()
        self.assert_kept(b"with the third keys")

    def test_unknown_odd_messages_are_ignored_and_unknown_even_ones_end_the_connection(self):
        peer = self.owner.connect(self.storer)
        peer.receive()
        for odd in (11, 39409, 65535):
            peer.send(bolt.message(odd, b"anything"))
            self.assertEqual(peer.heard(), [])
        # "I want blobs kept" was a message of its own in a draft; nobody may send it any more.
        for even in (10, 40000, 65534):
            with self.subTest(even):
                peer.send(bolt.message(even, b"anything"))
                self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.WARNING})
                peer = self.owner.connect(self.storer)
                self.assertEqual(peer.receive(), bolt.retrieval(b"what is kept"))
        peer.leave()
        self.assert_kept()

    def test_what_says_nothing_or_is_cut_short_ends_the_connection(self):
        for broken in (b"", b"\0", bolt.message(bolt.PING), bolt.message(bolt.INIT, b"\0")):
            with self.subTest(broken.hex()):
                peer = self.owner.connect(self.storer)
                peer.receive()
                peer.send(broken)
                self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.WARNING})
        self.assert_kept()

    def test_a_message_longer_than_its_length_says_ends_the_connection_alone(self):
        # Core Lightning as it was seen with a large backup of its own: the length is cut to 16 bits.
        peer = self.owner.connect(self.storer)
        peer.receive()
        peer.send_cut(bolt.message(bolt.PEER_STORAGE, bytes(66_000)))
        self.assertEqual(peer.rest(), [])
        self.assert_kept()


if __name__ == "__main__":
    unittest.main()
