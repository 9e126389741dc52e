"""A wallet under test (`peer-storage push` and `retrieve`), and the peers that play its storers."""

import itertools
import json

import bolt
import programs
from peer import Listener, Node

# A peer of a channel says so at each connection. The point has to be a valid one.
POINT = Node("a point").id


class Owner:
    """A wallet with channels that only a file knows: `push` takes the file at its word."""

    def __init__(self, case, name="owner", seed=None):
        self.case = case
        self.home = programs.home(case)
        self.seed = programs.seed_file(self.home, "owner", seed or Node(name).secret.rawkey)
        self.files = itertools.count()

    def wallet(self, *channels, peers):
        """Writes the file for `push`."""
        places = [{"node_id": p.id.hex(), "addresses": [f"127.0.0.1:{p.port}"]} for p in peers]
        path = self.home / f"wallet-{next(self.files)}.json"
        path.write_text(json.dumps({"channels": channels, "peers": places}))
        return path

    def push(self, wallet, directory="push", budget=60, **more):
        return self._tool("push", directory, budget, "--wallet", wallet, **more)

    def retrieve(self, *peers, directory="retrieve", budget=60, **more):
        places = [f"{p.id.hex()}@127.0.0.1:{p.port}" for p in peers]
        return self._tool("retrieve", directory, budget, *places, **more)

    def recover(self, peer, *args, directory="recover", **more):
        place = f"{peer.id.hex()}@127.0.0.1:{peer.port}"
        return self._tool("recover", directory, 60, place, *args, **more)

    def backup(self, storer, *channels, directory="push"):
        """A blob of these channels, as it was pushed to a storer and shown again."""
        wallet = self.wallet(*channels, peers=[storer])
        pushed = self.push(wallet, directory)
        blob = storer.take(channels)
        storer.give(blob, channels)
        self.case.assertEqual(pushed.ended(), 0, pushed.said())
        return blob

    def _tool(self, command, directory, budget, *args, **more):
        return programs.Tool(
            self.case, command, "--seed-file", self.seed, "--data-dir", self.home / directory,
            "--budget", budget, *args, **more,
        )


class Storer:
    """A node of another implementation, played by the test: it does what the test says."""

    def __init__(self, case, name="storer", node=None, port=0):
        self.case = case
        self.node = node or Node(name)
        self.id = self.node.id
        self.listener = Listener(case, self.node, port)
        self.port = self.listener.port

    def accept(self, features=bolt.FEATURES):
        return self.listener.accept(features)

    def take(self, channels):
        """Speaks of its channels, keeps what it is sent, and returns that."""
        peer = self.accept()
        peer.send(*map(reestablish, channels))
        *before, last = peer.rest()
        self.case.assertTrue(all(bolt.number(m) == bolt.PEER_STORAGE for m in [*before, last]))
        return blob_in(last)

    def give(self, blob, channels=()):
        """Returns this, speaks of its channels, and returns what came to that."""
        peer = self.accept()
        peer.send(bolt.retrieval(blob), *map(reestablish, channels))
        return peer.rest()


def channel(peer, number=1, update_id=1):
    """A channel with this peer, as the file for `push` has it."""
    return {
        "peer": peer.id.hex(),
        "short_channel_id": f"{700_000 + number}x1x0",
        "channel_id": f"{number:064x}",
        "update_id": update_id,
        "kind": "anchors",
        "value_sat": 1_000_000,
    }


def reestablish(channel):
    """What the peer of a fresh channel says of it."""
    channel_id = bytes.fromhex(channel["channel_id"])
    return bolt.reestablish(channel_id, 1, 0, bytes(32), POINT)


def blob_in(whole):
    """What a 7 or a 9 carries."""
    return bolt.fields(whole)[{7: "blob", 9: "blob"}[bolt.number(whole)]]
