//! The header record: which backup this is, and how much of it.
//!
//! ```text
//! header = epoch BigSize ‖ generation BigSize ‖ installation 8 ‖ flags 1 ‖ content hash 16
//! flags  = bit 0: full tier, bit 1: channels did not fit, bit 2: something else did not fit
//! ```

use lightning::ln::msgs::DecodeError;
use lightning::util::ser::{BigSize, Readable, Writeable};

use super::snapshot::{ContentHash, InstallationId, Revision, Tier};

const FULL: u8 = 1;
const TRIMMED: u8 = 1 << 1;
const PARTIAL: u8 = 1 << 2;

#[derive(Clone)]
pub(super) struct Header {
    pub(super) revision: Revision,
    pub(super) installation: InstallationId,
    pub(super) tier: Tier,
    pub(super) trimmed: bool,
    pub(super) partial: bool,
    pub(super) content: ContentHash,
}

impl Header {
    /// The size of the record; the flags and the hash do not change it.
    pub(super) fn size(&self) -> usize {
        self.write().len()
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut flags = 0;
        if self.tier == Tier::Full {
            flags |= FULL;
        }
        if self.trimmed {
            flags |= TRIMMED;
        }
        if self.partial {
            flags |= PARTIAL;
        }
        let mut out = BigSize(self.revision.epoch.into()).encode();
        out.extend(BigSize(self.revision.generation).encode());
        out.extend(self.installation.0);
        out.push(flags);
        out.extend(self.content.0);
        out
    }

    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let epoch = u32::try_from(BigSize::read(&mut bytes)?.0);
        let epoch = epoch.map_err(|_| DecodeError::InvalidValue)?;
        let generation = BigSize::read(&mut bytes)?.0;
        let installation: u64 = Readable::read(&mut bytes)?;
        let flags: u8 = Readable::read(&mut bytes)?;
        if flags & !(FULL | TRIMMED | PARTIAL) != 0 {
            return Err(DecodeError::UnknownRequiredFeature);
        }
        let content = ContentHash(Readable::read(&mut bytes)?);
        if !bytes.is_empty() {
            return Err(DecodeError::InvalidValue);
        }
        Ok(Self {
            revision: Revision { epoch, generation },
            installation: InstallationId(installation.to_be_bytes()),
            tier: if flags & FULL != 0 {
                Tier::Full
            } else {
                Tier::Essential
            },
            trimmed: flags & TRIMMED != 0,
            partial: flags & PARTIAL != 0,
            content,
        })
    }
}
