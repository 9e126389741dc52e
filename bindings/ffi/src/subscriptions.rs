//! Listeners: a doorbell, and what it says.

use std::sync::{Arc, Mutex, Weak};

use ldk_peer_storage::lifecycle::Subscription;
use ldk_peer_storage::store::EventId;

use crate::callbacks::{lock, note, Bell, CallbackError};
use crate::peer_storage::Inner;
use crate::runtime::quietly;
use crate::status::StorageStatus;

/// Is told how a storage stands.
///
/// Called by one thread of the SDK for all listeners of the process, one call after the other, with nothing
/// locked: never the app's main thread. It may call the SDK. What it throws is logged, and nothing follows from
/// it. While it does not return, no other listener is called. It must not hold the storage itself, or the two
/// keep each other alive.
#[uniffi::export(foreign)]
pub trait StorageListener: Send + Sync {
    /// How things stand: first of all as they are, then after each change. Where several come in short order,
    /// the last alone is told.
    fn on_status(&self, status: StorageStatus) -> Result<(), CallbackError>;

    /// Events wait that were not told of before: call `next_event` until there is none.
    fn on_events_waiting(&self) -> Result<(), CallbackError>;
}

/// A listener that is told. It ends with `cancel`, or when it is dropped.
#[derive(uniffi::Object)]
pub struct StorageSubscription {
    bell: Arc<Bell>,
    _rings: Subscription,
}

#[uniffi::export]
impl StorageSubscription {
    /// Ends it: no call to the listener begins after this. One that is under way may still be going on, for
    /// this may be it.
    pub fn cancel(&self) {
        quietly(|| self.bell.silence());
    }
}

impl Drop for StorageSubscription {
    fn drop(&mut self) {
        self.bell.silence();
    }
}

/// What the listener knows already.
#[derive(Default)]
struct Told {
    status: Option<StorageStatus>,
    event: Option<EventId>,
}

impl StorageSubscription {
    pub(crate) fn new(inner: &Arc<Inner>, listener: Arc<dyn StorageListener>) -> Arc<Self> {
        let weak = Arc::downgrade(inner);
        let told = Mutex::new(Told::default());
        let bell = Bell::new(move || tell(&weak, &*listener, &told));
        let ringing = Arc::clone(&bell);
        Arc::new(StorageSubscription {
            _rings: inner.lifecycle.subscribe(move || ringing.ring()),
            bell,
        })
    }
}

fn tell(inner: &Weak<Inner>, listener: &dyn StorageListener, told: &Mutex<Told>) {
    let Some(inner) = inner.upgrade() else { return };
    let status = StorageStatus::from(inner.lifecycle.status());
    // Only where it is open: to ask for it would open it, and where that fails, ring again.
    let next = match inner.lifecycle.opening() {
        Some(_) => inner
            .storage()
            .and_then(|storage| Ok(storage.next_event()?)),
        None => Ok(None),
    };
    // Not while the app is called: then the last to let go of the storage may be this thread.
    drop(inner);
    let is_new = {
        let mut told = lock(told);
        told.status.replace(status.clone()) != Some(status.clone())
    };
    if is_new {
        note(listener.on_status(status));
    }
    if let Ok(Some((id, _))) = next {
        let is_new = lock(told).event.replace(id) < Some(id);
        if is_new {
            note(listener.on_events_waiting());
        }
    }
}
