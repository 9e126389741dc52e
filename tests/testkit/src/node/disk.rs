//! What a node keeps in its directory: `manager`, `monitors/<name>` and `spendable`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::{ChannelMonitor, ChannelMonitorUpdate};
use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::sign::{InMemorySigner, SpendableOutputDescriptor};
use lightning::util::persist::MonitorName;
use lightning::util::ser::{MaybeReadable, Writeable};

use super::types::TestChannelManager;
use crate::lock::lock;

/// Copies a directory of a node that does not run, or of one that does, as a phone's backup would:
/// what `from` holds replaces `to`.
pub fn copy_dir(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref(), to.as_ref());
    wipe(to);
    copy_tree(from, to).unwrap_or_else(|e| panic!("copying {}: {e}", from.display()));
}

/// Removes a directory, if it is there.
pub fn wipe(dir: impl AsRef<Path>) {
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            panic!("wiping {}: {e}", dir.as_ref().display())
        }
        _ => {}
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A node's directory. Once frozen, nothing in it changes any more: the process has "died".
pub(super) struct Disk {
    dir: PathBuf,
    frozen: AtomicBool,
    /// One writer at a time, and none after a freeze has returned.
    writing: Mutex<()>,
}

impl Disk {
    pub fn open(dir: &Path) -> Disk {
        let monitors = dir.join("monitors");
        fs::create_dir_all(&monitors).unwrap_or_else(|e| panic!("{}: {e}", monitors.display()));
        Disk {
            dir: dir.to_owned(),
            frozen: AtomicBool::new(false),
            writing: Mutex::new(()),
        }
    }

    pub fn freeze(&self) {
        let _writing = lock(&self.writing);
        self.frozen.store(true, Ordering::SeqCst);
    }

    pub fn write_manager(&self, manager: &TestChannelManager) {
        self.write("manager", &manager.encode());
    }

    pub fn manager(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.join("manager")).ok()
    }

    /// The bytes of all monitors.
    pub fn monitors(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.dir.join("monitors")).expect("created when opened");
        let mut paths: Vec<_> = entries
            .map(|e| e.expect("a readable directory").path())
            .collect();
        paths.retain(|path| path.extension().is_none());
        paths.sort();
        paths
            .iter()
            .map(|path| fs::read(path).expect("a readable file"))
            .collect()
    }

    pub fn write_spendable(&self, outputs: &[SpendableOutputDescriptor]) {
        let mut bytes = Vec::new();
        for output in outputs {
            let encoded = output.encode();
            bytes.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&encoded);
        }
        self.write("spendable", &bytes);
    }

    pub fn spendable(&self) -> Vec<SpendableOutputDescriptor> {
        let bytes = fs::read(self.dir.join("spendable")).unwrap_or_default();
        let mut rest = &bytes[..];
        let mut outputs = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let (mut encoded, more) = more.split_at(u32::from_le_bytes(*length) as usize);
            let read = SpendableOutputDescriptor::read(&mut encoded);
            outputs.extend(read.expect("written by this code"));
            rest = more;
        }
        outputs
    }

    fn write_monitor(&self, name: &MonitorName, monitor: &ChannelMonitor<InMemorySigner>) -> bool {
        self.write(&format!("monitors/{name}"), &monitor.encode())
    }

    /// Replaces a file whole; false if the disk is frozen.
    fn write(&self, name: &str, bytes: &[u8]) -> bool {
        let _writing = lock(&self.writing);
        if self.frozen.load(Ordering::SeqCst) {
            return false;
        }
        let path = self.dir.join(name);
        let new = path.with_extension("new");
        let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path));
        written.unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
        true
    }
}

impl Persist<InMemorySigner> for Disk {
    fn persist_new_channel(
        &self,
        name: MonitorName,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        status(self.write_monitor(&name, monitor))
    }

    fn update_persisted_channel(
        &self,
        name: MonitorName,
        _update: Option<&ChannelMonitorUpdate>,
        monitor: &ChannelMonitor<InMemorySigner>,
    ) -> ChannelMonitorUpdateStatus {
        status(self.write_monitor(&name, monitor))
    }

    fn archive_persisted_channel(&self, name: MonitorName) {
        let _writing = lock(&self.writing);
        if !self.frozen.load(Ordering::SeqCst) {
            let _ = fs::remove_file(self.dir.join(format!("monitors/{name}")));
        }
    }
}

/// On a frozen disk the write never ends, so that LDK sends nothing that rests on it.
fn status(written: bool) -> ChannelMonitorUpdateStatus {
    if written {
        ChannelMonitorUpdateStatus::Completed
    } else {
        ChannelMonitorUpdateStatus::InProgress
    }
}
