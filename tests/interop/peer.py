"""One end of a Lightning connection: Core Lightning's own BOLT #8 code over a real socket."""

import contextlib
import hashlib
import os
import socket
import struct
import time

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from pyln.proto.wire import LightningConnection, PrivateKey, PublicKey

import bolt

# For whatever is waited for, in seconds. Long: what is late is a failure, however slow the machine.
PATIENCE = 30
socket.setdefaulttimeout(PATIENCE)


class HungUp(Exception):
    """The other side has ended the connection."""


class Node:
    """An identity. One name gives one node id, each time."""

    def __init__(self, name=None, secret=None):
        seed = name.encode() if name else os.urandom(32)
        self.secret = PrivateKey(secret or hashlib.sha256(seed).digest())
        self.id = self.secret.public_key().serializeCompressed()

    def dial(self, there, node_id=None):
        """A connection up to its handshake, with the node there or whoever is to be there."""
        stream = socket.create_connection(("127.0.0.1", there.port))
        there.case.addCleanup(stream.close)
        return Peer(self, stream, PublicKey(node_id or there.node_id))

    def connect(self, there, features=bolt.FEATURES, at_once=()):
        """A connection up to both `init`s. `at_once`: messages that leave right behind ours.

        A node that still believes in an older connection of ours hangs up: then once more.
        """
        end = time.monotonic() + PATIENCE
        while True:
            try:
                peer = self.dial(there)
                peer.send(bolt.init(features), *at_once)
                peer.their_init = peer.receive()
                return peer
            except HungUp:
                if time.monotonic() > end:
                    raise


class Listener:
    """Waits on a port for whoever dials a node."""

    def __init__(self, case, node, port=0):
        self.case = case
        self.node = node
        self.socket = socket.socket()
        case.addCleanup(self.socket.close)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen()
        self.port = self.socket.getsockname()[1]

    def accept(self, features=bolt.FEATURES):
        """The next connection up to both `init`s. Who has given up meanwhile is passed over."""
        end = time.monotonic() + PATIENCE
        while True:
            self.socket.settimeout(PATIENCE)
            stream, _ = self.socket.accept()
            self.case.addCleanup(stream.close)
            stream.settimeout(PATIENCE)
            try:
                peer = Peer(self.node, stream, None)
                peer.their_init = peer.receive()
                peer.send(bolt.init(features))
                return peer
            except HungUp:
                if time.monotonic() > end:
                    raise

    def nobody_has_dialled(self):
        """Whether no connection waits to be accepted."""
        self.socket.settimeout(0)
        try:
            self.socket.accept()[0].close()
            return False
        except BlockingIOError:
            return True


class Peer:
    """A connection behind its handshake. `their_init` is the first message of the other side."""

    def __init__(self, node, stream, remote_key):
        self.stream = Stream(stream)
        self.wire = LightningConnection(self.stream, remote_key, node.secret, remote_key is not None)
        self.wire.shake()
        self.their_init = None

    def send(self, *messages):
        """Sends these in one go: whoever reads the first has the others by then."""
        with self.stream.in_one_go():
            for whole in messages:
                self.wire.send_message(whole)

    def send_if_there(self, *messages):
        """The same to whoever may have hung up."""
        try:
            self.send(*messages)
        except HungUp:
            pass

    def send_cut(self, whole):
        """Sends a message that is too long, with the last 16 bits of its length, as if that were nothing."""
        wire = self.wire
        for part in (struct.pack("!H", len(whole) & 0xFFFF), whole):
            self.stream.send(ChaCha20Poly1305(wire.sk).encrypt(wire.nonce(wire.sn), part, b""))
            wire.sn += 1

    def receive(self):
        """The next message that is no ping. Pings are answered, and are no reason to wait on."""
        end = time.monotonic() + PATIENCE
        while True:
            whole = bolt.Whole(self.wire.read_message())
            if time.monotonic() > end:
                raise TimeoutError("nothing but pings")
            if bolt.number(whole) != bolt.PING:
                return whole
            asked = bolt.fields(whole)["num_pong_bytes"]
            if asked < 65532:
                self.send(bolt.message(bolt.PONG, bolt.counted(bytes(asked))))

    def heard(self):
        """What comes while a ping is on its way: all before it was read, so nothing more may be an answer.

        A node has a few things to do between reading and answering, which a pong overtakes: three times.
        """
        messages = []
        for _ in range(3):
            self.send(bolt.ping())
            while bolt.number(whole := self.receive()) != bolt.PONG:
                messages.append(whole)
        return messages

    def rest(self):
        """All that comes until the other side hangs up."""
        messages = []
        try:
            while True:
                messages.append(self.receive())
        except HungUp:
            return messages
        finally:
            self.stream.close()

    def leave(self):
        """Hangs up in order: the other side has read all before, and knows of the end."""
        self.stream.end()
        return self.rest()


class Stream:
    """A socket that reads and writes all that it is asked to. pyln-proto takes what comes first."""

    def __init__(self, stream):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = stream
        self.held = None

    def recv(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.stream.recv(count - len(data))
            except ConnectionError:
                more = b""
            if not more:
                raise HungUp
            data += more
        return data

    def send(self, data):
        if self.held is not None:
            self.held += data
            return
        try:
            self.stream.sendall(data)
        except ConnectionError as error:
            raise HungUp from error

    @contextlib.contextmanager
    def in_one_go(self):
        self.held = b""
        yield
        data, self.held = self.held, None
        self.send(data)

    def end(self):
        try:
            self.stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The other side was faster.

    def close(self):
        self.stream.close()
