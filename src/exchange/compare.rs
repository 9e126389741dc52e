//! What a returned backup means: compared with what was sent, and with the live state.

use std::time::Duration;

use super::alarm::Evidence;
use super::record::StorerState;
use super::time::Time;
use super::wallet::WalletState;
use crate::backup::{
    ChannelIds, ChannelPhase, ChannelRecord, ContentHash, Contents, InstallationId, Revision,
};

/// What a peer returned, compared with what we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The last one sent to this peer, or the newest there is.
    Verified,
    /// Older than the last one sent, but nothing to worry about: storers may delay by a minute, and
    /// LDK keeps it in memory.
    Lagging {
        /// It is older than what was sent ten minutes ago or more.
        overdue: bool,
    },
    /// Older than what this peer has returned before.
    RolledBack {
        /// What it had returned before.
        before: Revision,
    },
    /// Made by another installation, or by this one before its database was put back.
    Foreign {
        /// It comes after ours in the order of backups.
        newer: bool,
    },
    /// The revision of one of ours with other content.
    Conflict,
}

/// What this installation knows of its own backups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub installation: InstallationId,
    pub newest: Option<(Revision, ContentHash)>,
    /// The returned backup names a channel that is neither known here nor resolved.
    pub is_news: bool,
}

/// What was sent so long ago is expected back: storers may delay by a minute.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(600);

impl StorerState {
    /// What it has once returned counts no more once it has returned less.
    pub(super) fn is_trusted(&self) -> bool {
        !self.contradicted && self.missing_returns == 0 && self.stale_returns == 0
    }

    /// The newest revision that was sent long enough ago to be expected back.
    pub(super) fn settled(&self, now: Time) -> Option<Revision> {
        match self.sent {
            Some(sent) if now.since(sent.at) >= SETTLED_AFTER => Some(sent.revision),
            _ => self.settled,
        }
    }
}

/// Compares a returned backup with what was sent to the peer that returned it.
pub(super) fn compare(now: Time, returned: &Contents, own: Own, storer: &StorerState) -> Outcome {
    let revision = returned.snapshot.revision;
    let known = own.newest.into_iter().chain(
        storer
            .sent
            .iter()
            .chain(&storer.verified)
            .map(|sent| (sent.revision, sent.content)),
    );
    let mut is_known = false;
    for (_, content) in known.filter(|(r, _)| *r == revision) {
        if content != returned.content {
            return Outcome::Conflict;
        }
        is_known = true;
    }
    let newest = own.newest.map(|(revision, _)| revision);
    let sent = storer.sent.map(|sent| sent.revision);
    // What was sent is recorded before it leaves. Anything after that, or with a channel that was
    // never here, was not sent by this database, even if by this directory before it was put back.
    let is_ours = returned.snapshot.installation == own.installation
        && (is_known || (Some(revision) < sent && !own.is_news));
    if !is_ours || Some(revision) > newest {
        return Outcome::Foreign {
            newer: Some(revision) > newest,
        };
    }
    if Some(revision) >= sent {
        return Outcome::Verified;
    }
    match storer.verified {
        Some(before) if revision < before.revision => Outcome::RolledBack {
            before: before.revision,
        },
        _ => Outcome::Lagging {
            overdue: storer
                .settled(now)
                .is_some_and(|settled| revision < settled),
        },
    }
}

/// Whether a backup names a usable channel that the live state lacks: the first one.
///
/// `lost_past`: this device is known to have lost what came before (a restore), and the backup is
/// from before. Then a channel that is missing here is no news.
pub(super) fn missing_channel(
    backup: &Contents,
    live: &WalletState,
    gone: impl Fn(&ChannelIds) -> bool,
    lost_past: bool,
) -> Option<Evidence> {
    let missing = |channel: &&ChannelRecord| {
        channel.phase == ChannelPhase::Ready
            && !channel.restored
            && !gone(&channel.ids)
            && live.channel(&channel.ids).is_none()
    };
    let mut channels = backup.snapshot.channels.iter().filter(|_| !lost_past);
    channels
        .find(missing)
        .map(|channel| Evidence::ChannelMissing {
            channel: channel.ids,
        })
}
