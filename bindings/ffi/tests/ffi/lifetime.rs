use std::thread;

use peer_storage_ffi::config::OpenConfig;
use peer_storage_ffi::status::Activity;

use crate::support::*;

/// Of this process: threads, and memory that is in use, in kB.
fn threads_and_memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    (number("Threads:"), number("VmRSS:"))
}

/// Other tests of this process would count: this one starts itself anew, alone.
#[test]
fn a_thousand_openings_leave_no_thread_and_no_memory_behind() {
    const ALONE: &str = "PEER_STORAGE_FFI_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let test = std::env::current_exe().unwrap();
        let name = "lifetime::a_thousand_openings_leave_no_thread_and_no_memory_behind";
        let mut alone = std::process::Command::new(test);
        alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1");
        assert!(alone.status().unwrap().success());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cycle = || {
        let storage = open(dir.path());
        let subscription = storage.subscribe(Listener::new(|| Ok(()))).unwrap();
        let hold = storage.hold().unwrap();
        storage.report_wallet(report(vec![channel(2)])).unwrap();
        hold.release();
        assert!(wait(storage.shutdown(ENOUGH)).unwrap().closed);
        drop(subscription);
    };
    (0..100).for_each(|_| cycle());
    let (threads, memory) = threads_and_memory();
    (0..900).for_each(|_| cycle());
    let (threads_then, memory_then) = threads_and_memory();
    println!("threads {threads} -> {threads_then}, memory {memory} -> {memory_then} kB");
    // A thread or two of the pool may be idle at either time; one for each cycle would be hundreds.
    assert!(
        threads_then <= threads + 4,
        "{threads} -> {threads_then} threads"
    );
    // 900 openings that each kept 5 kB would be more.
    assert!(memory_then < memory + 4_500, "{memory} -> {memory_then} kB");
}

#[test]
fn an_object_that_is_dropped_lets_go_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    wait(storage.declare_new()).unwrap();
    // These keep nothing open.
    let _hold = storage.hold().unwrap();
    let _subscription = storage.subscribe(Listener::new(|| Ok(()))).unwrap();
    drop(storage);
    wait_until("the directory to be free", || {
        match open_with(config(dir.path()), secret(1)) {
            Ok(storage) => {
                assert_eq!(
                    storage.status().unwrap().past,
                    peer_storage_ffi::status::Past::Known,
                    "what was durable"
                );
                wait(storage.shutdown(ENOUGH)).unwrap();
                true
            }
            Err(_) => false,
        }
    });
}

#[test]
fn what_is_opened_out_of_sight_comes_to_rest_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let out_of_sight = OpenConfig {
        in_foreground: false,
        linger_ms: 600_000,
        ..config(dir.path())
    };
    let storage = open_with(out_of_sight, secret(1)).unwrap();
    wait_until("the rest", || {
        storage.status().unwrap().activity == Activity::Suspended
    });
    assert!(is_suspended(&storage));
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn short_hops_and_long_ones_leave_it_open_as_the_facts_say() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    for _ in 0..20 {
        assert!(wait(storage.on_background(ENOUGH)).unwrap().suspended);
        assert!(is_suspended(&storage));
        storage.on_foreground();
        wait_until("it to be open", || !is_suspended(&storage));
        assert!(wait(storage.next_event()).unwrap().is_none());
    }
    wait(storage.shutdown(ENOUGH)).unwrap();
}

#[test]
fn a_hold_that_is_released_keeps_nothing_open() {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path());
    let hold = storage.hold().unwrap();
    let leaving = {
        let storage = storage.clone();
        thread::spawn(move || wait(storage.on_background(60_000)))
    };
    wait_until("it to be left", || {
        storage.status().unwrap().activity == Activity::Draining
    });
    hold.release();
    wait_until("the rest", || {
        storage.status().unwrap().activity == Activity::Suspended
    });
    assert!(leaving.join().unwrap().unwrap().suspended);
    hold.release();
    wait(storage.shutdown(ENOUGH)).unwrap();
}
