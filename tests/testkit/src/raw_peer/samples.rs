//! One of every kind of message about a channel, in the bytes of BOLT #2 and #7.
//!
//! LDK can read each of them; none makes sense. They are for nodes that must not answer.

use bitcoin::constants::ChainHash;
use lightning::ln::types::ChannelId;

/// A point on the curve: the generator.
const POINT: [u8; 33] = [
    0x02, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b,
    0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17,
    0x98,
];
const SIGNATURE: [u8; 64] = [1; 64];
const HASH: [u8; 32] = [2; 32];

/// One of each, with its number on the wire: opening in both versions, interactive transactions,
/// splicing, payments, closing, `channel_reestablish`, announcements and `error`.
pub fn channel_messages(channel_id: ChannelId) -> Vec<(u16, Vec<u8>)> {
    let chain = ChainHash::REGTEST.to_bytes();
    let start = || Body(channel_id.0.to_vec());
    let empty = || Body(Vec::new());
    let points = |body: Body, count: usize| (0..count).fold(body, |body, _| body.put(&POINT));
    let amounts = |body: Body, count: u64| (0..count).fold(body, |body, i| body.u64(1_000 + i));

    // Chain and ids; four amounts and more; the keys; flags.
    let open = amounts(empty().put(&chain).put(&channel_id.0), 6).u32(253);
    let open = points(open.u16(144).u16(30), 6).u8(0);
    let accept = amounts(start(), 4).u32(6).u16(144).u16(30);
    let open2 = empty().put(&chain).put(&channel_id.0).u32(253).u32(253);
    let open2 = amounts(open2, 4).u16(144).u16(30).u32(0);
    let accept2 = amounts(start(), 4).u32(6).u16(144).u16(30);
    let onion = Body(vec![0]).put(&POINT).put(&[3; 1300]).put(&HASH);
    let announcement = start().u64(1).put(&SIGNATURE).put(&SIGNATURE);
    let update = empty()
        .put(&SIGNATURE)
        .put(&chain)
        .u64(1)
        .u32(1)
        .u8(1)
        .u8(0);
    let update = update.u16(72).u64(1).u32(1_000).u32(0).u64(1_000_000);

    let messages = [
        (2, start().u8(1)),
        (17, start().u16(4).put(b"text")),
        (32, open),
        (33, points(accept, 6)),
        (34, start().put(&HASH).u16(0).put(&SIGNATURE)),
        (35, start().put(&SIGNATURE)),
        (36, start().put(&POINT)),
        (38, start().u16(22).put(&[0, 20]).put(&[4; 20])),
        (39, start().u64(500).put(&SIGNATURE)),
        (64, points(open2, 7).u8(0)),
        (65, points(accept2, 7)),
        (66, start().u64(0).u16(0).u32(0).u32(0)),
        (
            67,
            start()
                .u64(0)
                .u64(1_000)
                .u16(22)
                .put(&[0, 20])
                .put(&[4; 20]),
        ),
        (68, start().u64(0)),
        (69, start().u64(0)),
        (70, start()),
        (71, start().put(&HASH).u16(0)),
        (72, start().u32(0).u32(253)),
        (73, start()),
        (74, start().u16(4).put(b"text")),
        (77, start().put(&HASH)),
        (80, start().u64(1_000).u32(253).u32(0).put(&POINT)),
        (81, start().u64(1_000).put(&POINT)),
        (
            128,
            start().u64(0).u64(1_000).put(&HASH).u32(500).put(&onion.0),
        ),
        (130, start().u64(0).put(&HASH)),
        (131, start().u64(0).u16(4).put(b"text")),
        (132, start().put(&SIGNATURE).u16(0)),
        (133, start().put(&HASH).put(&POINT)),
        (134, start().u32(253)),
        (135, start().u64(0).put(&HASH).u16(0x8000 | 4)),
        (136, start().u64(1).u64(0).put(&[0; 32]).put(&POINT)),
        (258, update),
        (259, announcement),
    ];
    messages.map(|(type_id, body)| (type_id, body.0)).into()
}

/// Bytes, field after field.
#[derive(Clone)]
struct Body(Vec<u8>);

impl Body {
    fn put(mut self, bytes: &[u8]) -> Body {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u8(self, value: u8) -> Body {
        self.put(&[value])
    }

    fn u16(self, value: u16) -> Body {
        self.put(&value.to_be_bytes())
    }

    fn u32(self, value: u32) -> Body {
        self.put(&value.to_be_bytes())
    }

    fn u64(self, value: u64) -> Body {
        self.put(&value.to_be_bytes())
    }
}
