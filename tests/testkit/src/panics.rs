//! Panics on the threads of a node, kept for the test to see.
//!
//! LDK panics where it finds that its state is stale, and does so on whichever thread handles the
//! message: tokio's workers swallow such a panic. So every thread of a node bears a name that
//! begins with the node's tag, and one panic hook for the process files panics under that tag.

use std::collections::HashMap;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock};

use crate::lock::lock;

/// Marks the threads of one node (of one life of it: each start gets a new tag).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ThreadTag(String);

impl ThreadTag {
    pub fn new(node: &str) -> ThreadTag {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        static HOOK: Once = Once::new();
        HOOK.call_once(install);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        ThreadTag(format!("testkit#{serial}:{node}"))
    }

    /// The name for a thread with this role.
    pub fn thread(&self, role: &str) -> String {
        format!("{}/{role}", self.0)
    }

    /// What the threads with this tag said when they panicked, in order.
    pub fn panics(&self) -> Vec<String> {
        lock(recorded()).get(&self.0).cloned().unwrap_or_default()
    }
}

fn recorded() -> &'static Mutex<HashMap<String, Vec<String>>> {
    static RECORDED: OnceLock<Mutex<HashMap<String, Vec<String>>>> = OnceLock::new();
    RECORDED.get_or_init(Mutex::default)
}

fn install() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        match name
            .rsplit_once('/')
            .filter(|(tag, _)| tag.starts_with("testkit#"))
        {
            Some((tag, _)) => record(tag, info),
            None => previous(info),
        }
    }));
}

fn record(tag: &str, info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = (payload.downcast_ref::<&str>().copied())
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)");
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let report = format!("{text} ({place})");
    let mut recorded = lock(recorded());
    let panics = recorded.entry(tag.to_owned()).or_default();
    // The first one is the cause; those after it are mostly poisoned locks, over and over.
    if panics.is_empty() {
        eprintln!("a thread of {tag} panicked: {report}");
    }
    if panics.len() < 20 {
        panics.push(report);
    }
}
