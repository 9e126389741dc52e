use std::sync::{Arc, Mutex};

use peer_storage_ffi::callbacks::CallbackError;
use peer_storage_ffi::logging::{
    set_log_writer, StorageLogLevel, StorageLogRecord, StorageLogWriter,
};

use crate::support::*;

#[derive(Default)]
struct Writer {
    lines: Mutex<Vec<StorageLogRecord>>,
    fails: bool,
}

impl StorageLogWriter for Writer {
    fn write(&self, record: StorageLogRecord) -> Result<(), CallbackError> {
        // It may call the SDK, which logs again: that must not come back here for ever.
        log::error!(target: "ldk_peer_storage::test", "by the writer");
        self.lines.lock().unwrap().push(record);
        match self.fails {
            true => panic!("as a writer may"),
            false => Ok(()),
        }
    }
}

#[test]
fn a_log_writer_gets_the_lines_of_the_sdk_at_its_level_and_may_fail() {
    let failing = Arc::new(Writer {
        fails: true,
        ..Writer::default()
    });
    set_log_writer(Some(failing.clone()), StorageLogLevel::Warn).unwrap();
    log::warn!(target: "ldk_peer_storage::test", "first");
    wait_until("the failing writer to be called", || {
        !failing.lines.lock().unwrap().is_empty()
    });

    let writer = Arc::new(Writer::default());
    set_log_writer(Some(writer.clone()), StorageLogLevel::Warn).unwrap();
    log::warn!(target: "ureq::test", "asks https://example.org");
    log::info!(target: "ldk_peer_storage::test", "too low");
    log::warn!(target: "ldk_peer_storage::test", "second");
    let has = |text: &str| {
        let lines = writer.lines.lock().unwrap();
        lines.iter().any(|line| line.text == text)
    };
    wait_until("the line", || has("second"));
    assert!(!has("too low") && !has("asks https://example.org") && !has("by the writer"));

    /// A writer that ends itself in the midst of it.
    struct Ends;
    impl StorageLogWriter for Ends {
        fn write(&self, _: StorageLogRecord) -> Result<(), CallbackError> {
            set_log_writer(None, StorageLogLevel::Trace).unwrap();
            Ok(())
        }
    }
    set_log_writer(Some(Arc::new(Ends)), StorageLogLevel::Warn).unwrap();
    log::warn!(target: "ldk_peer_storage::test", "third");
    wait_until("the writer to end itself", || {
        log::max_level() == log::LevelFilter::Off
    });
    assert!(!log::log_enabled!(target: "ldk_peer_storage::test", log::Level::Error));
}
