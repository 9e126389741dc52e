"""What `peer-storage serve` keeps for others, and when it returns it (BOLT #1, "Peer storage")."""

import os
import time
import unittest

import bolt
import programs
from peer import Node

# It promises to have written what it was given after this, in seconds.
WRITTEN_AFTER = 0.1


class Case(unittest.TestCase):
    def setUp(self):
        self.home = programs.home(self)
        self.owner = Node("owner")

    def start(self, *allowed):
        return programs.Storer(self, self.home, *(allowed or [self.owner]))

    def store(self, storer, blob, owner=None):
        peer = (owner or self.owner).connect(storer)
        peer.send(bolt.storage(blob))
        peer.heard()
        peer.leave()

    def assert_returned(self, storer, blob, owner=None):
        """At a new connection this comes behind `init`, and nothing else."""
        peer = (owner or self.owner).connect(storer)
        self.assertEqual(peer.receive(), bolt.retrieval(blob))
        self.assertEqual(peer.heard(), [])
        peer.leave()

    def assert_nothing_returned(self, storer, owner=None):
        peer = (owner or self.owner).connect(storer)
        self.assertEqual(peer.heard(), [])
        peer.leave()


class Keeping(Case):
    def test_a_blob_of_any_length_comes_back_byte_for_byte(self):
        owners = [Node(f"owner of {length}") for length in (1, 1024, 1025, 4096, bolt.MOST)]
        storer = self.start(*owners)
        for owner, length in zip(owners, (1, 1024, 1025, 4096, bolt.MOST)):
            with self.subTest(length):
                blob = os.urandom(length)
                self.store(storer, blob, owner)
                # Twice: returning it takes nothing away.
                for _ in range(2):
                    self.assert_returned(storer, blob, owner)

    def test_a_blob_of_no_bytes_ends_what_was_kept(self):
        # BOLT #1 has no word on it. So does Core Lightning: the slot is empty, and no 9 comes.
        storer = self.start()
        self.store(storer, b"something")
        self.store(storer, b"")
        self.assert_nothing_returned(storer)
        self.store(storer, b"something else")
        self.assert_returned(storer, b"something else")

    def test_a_new_blob_replaces_the_old_one_and_nobody_elses(self):
        other = Node("another owner")
        storer = self.start(self.owner, other)
        self.store(storer, b"of another", other)
        for number in range(20):
            self.store(storer, bytes([number]) * 4000)
        self.assert_returned(storer, bytes([19]) * 4000)
        self.assert_returned(storer, b"of another", other)

    def test_whoever_offers_to_keep_blobs_or_not_gets_back_what_is_kept_before_anything_else(self):
        storer = self.start()
        for bits in ({bolt.PROVIDE_STORAGE}, {bolt.PROVIDE_STORAGE - 1}, set()):
            features = (bolt.FEATURES - {bolt.PROVIDE_STORAGE}) | bits
            with self.subTest(bits):
                blob = os.urandom(1024)
                peer = self.owner.connect(storer, features)
                # Without the bits it can store as well: they say what a node does for others.
                peer.send(bolt.storage(blob))
                peer.heard()
                peer.leave()
                again = self.owner.connect(storer, features)
                self.assertEqual(again.receive(), bolt.retrieval(blob))
                self.assertEqual(again.heard(), [])
                again.leave()

    def test_what_comes_back_is_what_was_kept_when_the_connection_was_made(self):
        storer = self.start()
        self.store(storer, b"from before")
        # Core Lightning sends its own blob right behind its `init`, before it has heard anything.
        peer = self.owner.connect(storer, at_once=[bolt.storage(b"from now")])
        self.assertEqual(peer.receive(), bolt.retrieval(b"from before"))
        peer.send(bolt.storage(b"and from later"))
        self.assertEqual(peer.heard(), [], "it is returned once a connection")
        peer.leave()
        self.assert_returned(storer, b"and from later")

    def test_what_was_stored_is_there_after_the_process_was_killed(self):
        storer = self.start()
        for length in (1024, bolt.MOST):
            blob = os.urandom(length)
            peer = self.owner.connect(storer)
            peer.send(bolt.storage(blob))
            peer.heard()
            # The promise is about this time, so it has to pass; pings and pongs meanwhile.
            promised = time.monotonic() + WRITTEN_AFTER
            while time.monotonic() < promised:
                peer.heard()
            storer.kill()
            peer.rest()
            storer = self.start()
            self.assert_returned(storer, blob)

    def test_a_stranger_is_told_why_nothing_is_kept(self):
        storer, stranger = self.start(), Node("stranger")
        peer = stranger.connect(storer)
        self.assertEqual(peer.heard(), [])
        peer.send(bolt.storage(b"keep this"))
        warning = peer.receive()
        self.assertEqual(bolt.number(warning), bolt.WARNING)
        self.assertEqual(bolt.fields(warning)["channel_id"], bytes(32), "it is about no channel")
        self.assertEqual(bolt.text(warning), "peer_storage is kept for peers with a channel only")
        self.assertEqual(peer.heard(), [], "it is no reason to hang up")
        peer.leave()
        self.assert_nothing_returned(storer, stranger)


class Bodies(Case):
    """A 7 that is not as it should be. Whatever becomes of it, what was kept stays."""

    def setUp(self):
        super().setUp()
        self.storer = self.start()
        self.store(self.storer, b"what is kept")

    def test_a_body_that_cannot_be_read_ends_the_connection_and_what_was_kept_stays(self):
        def length(says, follows):
            return bolt.message(bolt.PEER_STORAGE, says.to_bytes(2, "big") + bytes(follows))

        broken = {
            "no length": bolt.message(bolt.PEER_STORAGE),
            "half a length": bolt.message(bolt.PEER_STORAGE, b"\0"),
            "one byte too few": length(1024, 1023),
            "nothing behind the length": length(1, 0),
            "65531 and one too few": length(65531, 65530),
            "65532, which fits no message": length(65532, 65531),
            "65535, which LDK reads as a longer length to come": length(65535, 65531),
            "65535, and a longer length": length(65535, 8),
            "a record that nobody may ignore": bolt.storage(b"new") + bytes([2, 1, 9]),
            "a record that ends too early": bolt.storage(b"new") + bytes([3, 5, 1]),
            "a record without a length": bolt.storage(b"new") + bytes([3]),
            "records in the wrong order": bolt.storage(b"new") + bytes([5, 0, 3, 0]),
            "a record twice": bolt.storage(b"new") + bytes([3, 0, 3, 0]),
            "a type that is longer than it needs to be": bolt.storage(b"new") + bytes([0xFD, 0, 3, 0]),
        }
        for what, whole in broken.items():
            with self.subTest(what):
                peer = self.owner.connect(self.storer)
                self.assertEqual(peer.receive(), bolt.retrieval(b"what is kept"))
                peer.send(whole)
                self.assertLessEqual({bolt.number(m) for m in peer.rest()}, {bolt.WARNING})
        self.assert_returned(self.storer, b"what is kept")

    def test_records_behind_the_blob_that_may_be_ignored_are(self):
        peer = self.owner.connect(self.storer)
        peer.receive()
        peer.send(bolt.storage(b"new") + bytes([3, 2, 1, 1, 5, 0]))
        self.assertEqual(peer.heard(), [])
        peer.leave()
        self.assert_returned(self.storer, b"new")

    def test_a_9_that_nobody_has_asked_for_changes_nothing(self):
        peer = self.owner.connect(self.storer)
        peer.receive()
        peer.send(bolt.retrieval(b"not yours"), bolt.retrieval(b""))
        self.assertEqual(peer.heard(), [])
        peer.leave()
        self.assert_returned(self.storer, b"what is kept")


if __name__ == "__main__":
    unittest.main()
