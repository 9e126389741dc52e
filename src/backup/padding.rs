//! How large a sealed blob is made, so that its size tells a storer little.

/// The largest blob that every storer keeps for a peer; LDK 0.2 keeps no larger one. In bytes.
pub const SMALL_BLOB: usize = 1024;

/// The largest blob that fits into a `peer_storage` message (BOLT #1). In bytes.
pub const MAX_BLOB: usize = 65531;

const BUCKETS: [usize; 4] = [SMALL_BLOB, 4096, 16384, MAX_BLOB];

/// To which size blobs are padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Padding {
    /// To the next of 1024, 4096, 16384 and 65531 bytes, which tells the storer a rough size and
    /// spares both sides' traffic.
    #[default]
    Buckets,
    /// Always to the capacity, as BOLT #1 recommends: the storer learns nothing from the size.
    Full,
}

impl Padding {
    /// The size of the blob that carries `needed` bytes, all overhead included. Both in bytes.
    /// `None` where the blob would exceed `capacity`.
    ///
    /// A capacity above [`MAX_BLOB`] is that of a local store. It asks for no padding beyond the
    /// buckets, since nobody is to be kept from learning a size there.
    pub(super) fn sealed_size(self, needed: usize, capacity: usize) -> Option<usize> {
        if needed > capacity {
            return None;
        }
        if self == Padding::Full {
            return Some(if capacity > MAX_BLOB {
                needed
            } else {
                capacity
            });
        }
        let bucket = BUCKETS.into_iter().find(|bucket| *bucket >= needed);
        Some(bucket.unwrap_or(needed).min(capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_the_content_up_to_the_capacity() {
        let size = |needed, capacity| Padding::Buckets.sealed_size(needed, capacity);
        assert_eq!(size(45, MAX_BLOB), Some(1024));
        assert_eq!(size(1024, MAX_BLOB), Some(1024));
        assert_eq!(size(1025, MAX_BLOB), Some(4096));
        assert_eq!(size(4097, MAX_BLOB), Some(16384));
        assert_eq!(size(16385, MAX_BLOB), Some(MAX_BLOB));
        assert_eq!(size(MAX_BLOB + 1, MAX_BLOB), None);
        // A capacity that is no bucket is used in full where the bucket below it is too small.
        assert_eq!(size(1025, 2000), Some(2000));
        assert_eq!(size(700, 800), Some(800));
        assert_eq!(size(1025, 1024), None);
        // A local store.
        assert_eq!(size(100, usize::MAX), Some(1024));
        assert_eq!(size(MAX_BLOB + 1, usize::MAX), Some(MAX_BLOB + 1));
    }

    #[test]
    fn full_padding_hides_the_size_from_storers_alone() {
        let size = |needed, capacity| Padding::Full.sealed_size(needed, capacity);
        assert_eq!(size(45, MAX_BLOB), Some(MAX_BLOB));
        assert_eq!(size(45, 2000), Some(2000));
        assert_eq!(size(2001, 2000), None);
        assert_eq!(size(45, usize::MAX), Some(45));
    }
}
