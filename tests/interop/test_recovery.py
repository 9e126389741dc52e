"""How `peer-storage recover` asks a peer to close a channel, byte by byte (src/recovery/ask.rs, docs/adr/0016).

The channel is a real one, on the world's chain, between a wallet and a stock LDK node. Then that node is
stopped, and the test answers in its place, with its key: the peer that is asked is played by Core
Lightning's code. It keeps the backup, and never closes, so it is asked again and again.
"""

import time
import unittest

import bolt
import programs
from clock import Clock, needs_a_clock
from owner import Owner, Storer, reestablish
from peer import Node

# A peer that still prepares loses what comes earlier, in seconds.
REST = 1
# So long the connection stands once it was asked, in seconds; 30 unless said otherwise.
STAY = 2

CONSENT = ["--yes", "--old-device-is-gone"]


@needs_a_clock
class Recovery(unittest.TestCase):
    def setUp(self):
        world = programs.World(self, f"interop-{self._testMethodName[:20]}", "anna")
        told = world.told
        world.do("node_start")
        opened = world.do("open_channel", peer="anna", sat=1_000_000)
        world.do("node_stop")
        report = world.do("channels")["report"]
        secret = bytes.fromhex(world.do("peer_secret", peer="anna")["secret"])
        world.do("peer_stop", peer="anna")

        place = told["peers"]["anna"]
        port = int(place["addresses"][0].rsplit(":", 1)[1])
        self.anna = Storer(self, node=Node(secret=secret), port=port)
        self.assertEqual(self.anna.id.hex(), place["node_id"], "it answers in her place")
        self.world, self.node_id = world, told["node_id"]
        self.owner = Owner(self, seed=bytes.fromhex(told["seed"]))
        self.clock = Clock(self.owner.home)

        [known] = report["channels"]
        self.channel = {
            "peer": self.anna.id.hex(),
            "channel_id": opened["channel_id"],
            "funding_outpoint": opened["funding_outpoint"],
            "update_id": known["state_stamp"],
            "kind": known["kind"],
            "value_sat": 1_000_000,
        }
        self.blob = self.owner.backup(self.anna, self.channel)
        self.args = [
            "--esplora", told["esplora"], "--sweep-to", told["sweep_to"], "--fee-rate", 4,
            "--highest-fee-rate", 20, "--stay", STAY, "--poll", 1, "--once",
        ]

    def recover(self, *more):
        return self.owner.recover(self.anna, *self.args, *more, environment=self.clock.environment)

    def not_done_yet(self, recover):
        self.assertEqual(recover.ended(), 3, recover.said())
        self.assertEqual(self.world.do("closed")["closed"], 0)

    def asked(self):
        """What comes of one attempt: all that is said, when the first came, and when it hung up."""
        peer = self.anna.accept()
        self.assertEqual(bolt.number(peer.their_init), bolt.INIT)
        peer.send(bolt.retrieval(self.blob))
        time_of_last_136 = time.monotonic()
        peer.send(reestablish(self.channel))
        first = peer.receive()
        after_rest = time.monotonic() - time_of_last_136
        rest = peer.rest()
        stayed = time.monotonic() - time_of_last_136 - after_rest
        self.assertGreaterEqual(after_rest, REST)
        self.assertGreaterEqual(stayed, STAY / 2, "both clocks are those of a busy machine")
        return [first, *rest]

    def test_a_peer_is_asked_by_an_error_alone_then_by_a_bogus_136_alone_and_so_on_with_pauses(self):
        channel_id = bytes.fromhex(self.channel["channel_id"])
        error = bolt.error(channel_id, "force close requested: channel state lost")
        # Zero and zero: "I have lost everything". The point has to be valid and means nothing.
        bogus = bolt.reestablish(channel_id, 0, 0, bytes([1] * 32), bytes.fromhex(self.node_id))

        # Without consent it reads back, and says nothing at all.
        recover = self.recover()
        self.assertEqual(self.anna.give(self.blob, [self.channel]), [])
        self.assertEqual(recover.ended(), 4, recover.said())

        recover = self.recover(*CONSENT)
        self.assertEqual(self.anna.give(self.blob, [self.channel]), [])
        self.assertEqual(self.asked(), [error])
        self.assertEqual(recover.event("asked")["way"], "error")
        self.not_done_yet(recover)
        self.assertEqual(error.hex(), "0011" + self.channel["channel_id"] + "0029" + TEXT.hex())

        # The pauses double, from a minute on. Too early nobody is dialled.
        ahead, pause = 0, 60
        for way, expected in (("channel_reestablish", bogus), ("error", error), ("channel_reestablish", bogus)):
            with self.subTest(way, ahead=ahead):
                self.clock.put_ahead(ahead + pause - 30)
                self.not_done_yet(self.recover())
                self.assertTrue(self.anna.listener.nobody_has_dialled())
                ahead, pause = ahead + pause, 2 * pause
                self.clock.put_ahead(ahead)
                recover = self.recover()
                self.assertEqual(self.asked(), [expected])
                self.assertEqual(recover.event("asked")["way"], way)
                self.not_done_yet(recover)
        self.assertEqual(len(bogus), 2 + 32 + 8 + 8 + 32 + 33, "no record behind it")

    def test_a_peer_that_hangs_up_before_it_was_asked_is_told_nothing_later(self):
        recover = self.recover(*CONSENT)
        self.assertEqual(self.anna.give(self.blob, [self.channel]), [])
        peer = self.anna.accept()
        peer.send(bolt.retrieval(self.blob), reestablish(self.channel))
        self.assertEqual(peer.heard(), [])
        self.assertEqual(peer.leave(), [])
        self.not_done_yet(recover)
        # It counts as one who was not there: the first question is still to come.
        self.clock.put_ahead(60)
        recover = self.recover()
        [error] = self.asked()
        self.assertEqual(bolt.number(error), bolt.ERROR)
        self.not_done_yet(recover)


TEXT = b"force close requested: channel state lost"


if __name__ == "__main__":
    unittest.main()
