"""The messages of BOLT #1 and BOLT #2 that these tests send and read, byte by byte.

What is sent is put together here by hand, so that it can also be wrong. What is read is read twice: by hand,
and by Core Lightning's own reader (`fields`), which knows the layouts below and nothing of this project.
"""

import io
import struct

from pyln.proto.message import Message, MessageNamespace

WARNING, PEER_STORAGE, RETRIEVAL, INIT, ERROR, PING, PONG, REESTABLISH = 1, 7, 9, 16, 17, 18, 19, 136

# The largest blob: a message has 65535 bytes at most, four of which are its type and the blob's length.
MOST = 65531

# "I keep blobs" (option_provide_storage), optional. 42 would say that whoever does not is of no use.
PROVIDE_STORAGE = 43
# What Core Lightning 26.06 offers besides, as far as it matters for a connection. Even ones are required.
FEATURES = frozenset({0, 5, 7, 8, 11, 12, 14, 17, 23, 27, 35, 39, 44, 47, PROVIDE_STORAGE})

# Layouts, in the words of the specification's own extracts.
BOLTS = MessageNamespace("""\
msgtype,warning,1
msgdata,warning,channel_id,byte,32
msgdata,warning,len,u16,
msgdata,warning,data,byte,len
msgtype,peer_storage,7
msgdata,peer_storage,length,u16,
msgdata,peer_storage,blob,byte,length
msgtype,peer_storage_retrieval,9
msgdata,peer_storage_retrieval,length,u16,
msgdata,peer_storage_retrieval,blob,byte,length
msgtype,init,16
msgdata,init,gflen,u16,
msgdata,init,globalfeatures,byte,gflen
msgdata,init,flen,u16,
msgdata,init,features,byte,flen
msgdata,init,tlvs,init_tlvs,
tlvtype,init_tlvs,networks,1
tlvdata,init_tlvs,networks,chains,byte,...
tlvtype,init_tlvs,remote_addr,3
tlvdata,init_tlvs,remote_addr,data,byte,...
msgtype,error,17
msgdata,error,channel_id,byte,32
msgdata,error,len,u16,
msgdata,error,data,byte,len
msgtype,ping,18
msgdata,ping,num_pong_bytes,u16,
msgdata,ping,byteslen,u16,
msgdata,ping,ignored,byte,byteslen
msgtype,pong,19
msgdata,pong,byteslen,u16,
msgdata,pong,ignored,byte,byteslen
msgtype,channel_reestablish,136
msgdata,channel_reestablish,channel_id,byte,32
msgdata,channel_reestablish,next_commitment_number,u64,
msgdata,channel_reestablish,next_revocation_number,u64,
msgdata,channel_reestablish,your_last_per_commitment_secret,byte,32
msgdata,channel_reestablish,my_current_per_commitment_point,byte,33
""".splitlines())


class Whole(bytes):
    """A whole message. Shown by its type, its length and its beginning: blobs fill many screens."""

    def __repr__(self):
        return f"<type {number(self) if len(self) > 1 else None}, {len(self)} bytes: {self[2:40].hex()}>"


def message(number, body=b""):
    """A whole message: its type, and what follows."""
    return Whole(struct.pack("!H", number) + body)


def counted(data):
    """Bytes behind their length, as two bytes."""
    return struct.pack("!H", len(data)) + data


def init(features=FEATURES, extension=b""):
    """`init` with these feature bits."""
    length = max(features, default=-1) // 8 + 1
    bits = sum(1 << bit for bit in features).to_bytes(length, "big")
    return message(INIT, counted(b"") + counted(bits) + extension)


def storage(blob):
    """`peer_storage`: keep this for me."""
    return message(PEER_STORAGE, counted(blob))


def retrieval(blob):
    """`peer_storage_retrieval`: this is what I keep for you."""
    return message(RETRIEVAL, counted(blob))


def ping(pong_bytes=4, padding=0):
    """`ping`, answered with so many bytes."""
    return message(PING, struct.pack("!H", pong_bytes) + counted(bytes(padding)))


def warning(text):
    """`warning` about the connection, not about a channel."""
    return message(WARNING, bytes(32) + counted(text.encode()))


def error(channel_id, text):
    """`error` about a channel."""
    return message(ERROR, channel_id + counted(text.encode()))


def reestablish(channel_id, next_commitment, next_revocation, secret, point, extension=b""):
    """`channel_reestablish`."""
    numbers = struct.pack("!QQ", next_commitment, next_revocation)
    return message(REESTABLISH, channel_id + numbers + secret + point + extension)


def number(whole):
    """The type of a message."""
    return struct.unpack("!H", whole[:2])[0]


def fields(whole):
    """A message as Core Lightning reads it, to its last byte."""
    read = io.BytesIO(whole)
    found = Message.read(BOLTS, read)
    assert found is not None, f"type {number(whole)} is not one of those above"
    left = read.read()
    assert left == b"", f"{len(left)} bytes behind the end of type {number(whole)}"
    return {name: plain(value) for name, value in found.fields.items()}


def features(whole):
    """The feature bits of an `init`, of both its fields."""
    read = fields(whole)
    bits = [int.from_bytes(read[name], "big") for name in ("globalfeatures", "features")]
    return {bit for bit in range(max(bits).bit_length()) if any(b >> bit & 1 for b in bits)}


def text(whole):
    """The words of a `warning` or an `error`."""
    return fields(whole)["data"].decode()


def plain(value):
    """pyln-proto reads a byte field as a list of numbers."""
    is_bytes = isinstance(value, list) and all(isinstance(one, int) for one in value)
    return bytes(value) if is_bytes else value
