//! How large a blob a peer keeps, learned without risk: a small one goes first, then a large one.
//!
//! LDK warns and keeps the small one; Core Lightning replaces it at once; Eclair keeps the last. What
//! comes back at the next connection tells. A storer that lost the large one in a crash must not be
//! taken for one that cannot keep it, so a single small return proves nothing.

use std::time::Duration;

use super::record::Capacity;
use super::time::Time;
use crate::backup::{MAX_BLOB, SMALL_BLOB};

/// A small return counts when the last large blob arrived and was sent at least this long before:
/// storers may write with a delay of a minute.
pub(super) const SETTLE: Duration = Duration::from_secs(120);
/// So many connections must return the small blob.
const SMALL_RETURNS: u32 = 2;
/// A peer with a small capacity is tried again after this.
const RETRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which blobs to send to a peer when not everything fits into a small one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Small,
    SmallThenLarge,
    Large,
}

impl Capacity {
    /// The size that is known to be kept, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Capacity::Large => MAX_BLOB,
            _ => SMALL_BLOB,
        }
    }

    /// Whether the peer's capacity is known.
    pub fn is_known(&self) -> bool {
        matches!(self, Capacity::Small { .. } | Capacity::Large)
    }

    pub(super) fn plan(&self, now: Time) -> Plan {
        match self {
            Capacity::Large => Plan::Large,
            Capacity::Small { learned_at } if now.since(*learned_at) < RETRY => Plan::Small,
            _ => Plan::SmallThenLarge,
        }
    }

    /// A large blob went out.
    pub(super) fn large_sent(&mut self, now: Time) {
        if !matches!(self, Capacity::Probing { .. } | Capacity::Large) {
            *self = Capacity::Probing {
                large_sent_at: now,
                small_returns: 0,
            };
        }
    }

    /// A blob of more than 1024 bytes came back.
    pub(super) fn large_returned(&mut self) {
        *self = Capacity::Large;
    }

    /// The small blob came back (once a connection), although a large one had followed it.
    pub(super) fn small_returned(&mut self, now: Time) {
        if let Capacity::Probing { small_returns, .. } = self {
            *small_returns += 1;
            if *small_returns >= SMALL_RETURNS {
                *self = Capacity::Small { learned_at: now };
            }
        }
    }

    /// The peer said that it keeps 1024 bytes at most (LDK's warning).
    pub(super) fn warned(&mut self, now: Time) {
        *self = Capacity::Small { learned_at: now };
    }
}
