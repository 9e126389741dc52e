//! Callers that go away at the one moment at which UniFFI holds an answer for them: it has polled the call to
//! its end and nobody fetches the result. Kotlin does this when a coroutine is cancelled before it runs on.

use std::future::Future;
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Weak};

use peer_storage_ffi::opening::StorageOpening;
use peer_storage_ffi::secret::WalletSecret;
use peer_storage_ffi::UniFfiTag;
use uniffi::{
    rust_future_free, rust_future_new, rust_future_poll, FutureLowerReturn, LowerReturn,
    RustFuturePoll,
};

use crate::support::*;

/// Does with a call what the generated Kotlin does, up to the moment at which it would fetch the result.
fn give_up_when_ready<T>(call: impl Future<Output = T> + Send + 'static)
where
    T: FutureLowerReturn<UniFfiTag> + LowerReturn<UniFfiTag> + 'static,
{
    extern "C" fn polled(told: u64, poll: RustFuturePoll) {
        // SAFETY: made of the box below, and called once for each poll.
        let told = unsafe { Box::from_raw(told as *mut Sender<RustFuturePoll>) };
        told.send(poll).unwrap();
    }
    let handle = rust_future_new(async { Ok(call.await) }, UniFfiTag);
    let (told, hears) = channel::<RustFuturePoll>();
    loop {
        let told = Box::into_raw(Box::new(told.clone()));
        // SAFETY: of this type, and freed only below.
        unsafe {
            rust_future_poll::<<T as LowerReturn<UniFfiTag>>::ReturnType>(
                handle.clone(),
                polled,
                told as u64,
            );
        }
        if hears.recv().unwrap() == RustFuturePoll::Ready {
            break;
        }
    }
    // SAFETY: of this type, and not used after.
    unsafe { rust_future_free::<<T as LowerReturn<UniFfiTag>>::ReturnType>(handle) };
}

/// Why no asynchronous call may give an object. Should this fail, UniFFI has mended it.
#[test]
fn an_object_that_a_call_gives_to_nobody_is_never_dropped() {
    let given = secret(1);
    let watched: Weak<WalletSecret> = Arc::downgrade(&given);
    give_up_when_ready(async move { given });
    assert_eq!(
        watched.strong_count(),
        1,
        "UniFFI drops what nobody fetches"
    );
}

#[test]
fn no_asynchronous_call_gives_an_object() {
    let api = include_str!("../../../api.txt");
    let objects: Vec<&str> = api
        .lines()
        .filter_map(|l| l.strip_prefix("object "))
        .collect();
    assert!(objects.contains(&"PeerStorage") && objects.contains(&"Recovery"));
    for line in api.lines().filter(|line| line.contains("async ")) {
        assert!(!line.contains("async constructor"), "{line}");
        let gives = line.split(" -> ").nth(1).unwrap_or_default();
        let mut words = gives.split(|c: char| !c.is_alphanumeric());
        assert!(!words.any(|word| objects.contains(&word)), "{line}");
    }
}

#[test]
fn an_opening_that_is_given_up_when_it_has_just_ended_leaves_the_directory_free() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let opening = StorageOpening::new(config(dir.path()), secret(1));
        let opens = opening.clone();
        give_up_when_ready(async move { opens.open().await });
        drop(opening);
        // Closed by a thread of the SDK.
        wait_until("the directory to be free", || {
            let storage = open_with(config(dir.path()), secret(1));
            storage.is_ok_and(|storage| wait(storage.shutdown(ENOUGH)).unwrap().closed)
        });
    }
}

#[test]
fn an_opening_gives_its_storage_once_and_a_failed_one_can_go_on() {
    use peer_storage_ffi::errors::PeerStorageError::{Closed, InUse, Suspended};
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let opening = StorageOpening::new(config(dir.path()), secret(1));
    assert_eq!(opening.take().err(), Some(Suspended));
    assert_eq!(wait(opening.open()), Err(InUse));
    assert_eq!(opening.take().err(), Some(Suspended));
    assert!(wait(first.shutdown(ENOUGH)).unwrap().closed);
    assert_eq!(wait(opening.open()), Ok(()));
    assert_eq!(wait(opening.open()), Ok(()), "it is open");
    let storage = opening.take().unwrap();
    assert_eq!(opening.take().err(), Some(Closed));
    assert_eq!(wait(opening.open()), Ok(()), "nothing more is opened");
    assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed);
}
