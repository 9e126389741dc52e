//! Stands for another wallet's core in the same program as the SDK: a Rust static library with an SQLite and a
//! libsecp256k1 of its own, as ldk-node or BDK are. `cargo xtask swift` links both into one Swift program.

// What C calls has a name that is not mangled, and takes pointers.
#![allow(unsafe_code)]

use std::ffi::{c_char, CStr};
use std::panic::catch_unwind;

use bitcoin::secp256k1::{Message, Secp256k1, SecretKey};
use rusqlite::Connection;

/// Writes a thousand rows into a new database at `path` and counts them; negative: it has failed.
///
/// # Safety
/// `path` is a string of C's.
#[no_mangle]
pub unsafe extern "C" fn other_wallet_counts_rows(path: *const c_char) -> i64 {
    let path = CStr::from_ptr(path).to_string_lossy().into_owned();
    let count = || -> rusqlite::Result<i64> {
        let mut database = Connection::open(path)?;
        let rows = database.transaction()?;
        rows.execute(
            "CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT)",
            [],
        )?;
        for number in 0..1000 {
            rows.execute(
                "INSERT INTO rows VALUES (?1, ?2)",
                (number, "x".repeat(100)),
            )?;
        }
        rows.commit()?;
        database.query_row("SELECT count(*) FROM rows", [], |row| row.get(0))
    };
    count().unwrap_or(-1)
}

/// Forbids this core's SQLite to take any more memory, for as long as the process lives: SQLite keeps the limit in
/// a variable of the program, not of a database. Who shares its SQLite feels it. 1: it is so.
#[no_mangle]
pub extern "C" fn other_wallet_forbids_its_sqlite_memory() -> i32 {
    let forbid = || -> rusqlite::Result<i64> {
        let database = Connection::open_in_memory()?;
        database.query_row("PRAGMA hard_heap_limit = 1", [], |row| row.get(0))
    };
    i32::from(forbid() == Ok(1))
}

/// Signs with this core's libsecp256k1, and verifies: 1 where the signature is good.
#[no_mangle]
pub extern "C" fn other_wallet_signs() -> i32 {
    let secp = Secp256k1::new();
    let Ok(key) = SecretKey::from_slice(&[7; 32]) else {
        return -1;
    };
    let message = Message::from_digest([8; 32]);
    let signature = secp.sign_ecdsa(&message, &key);
    let good = secp.verify_ecdsa(&message, &signature, &key.public_key(&secp));
    i32::from(good.is_ok())
}

/// Panics inside, and catches it: 1. Each core unwinds with a standard library of its own.
#[no_mangle]
pub extern "C" fn other_wallet_survives_a_panic() -> i32 {
    // `resume_unwind`: without a word on the screen.
    let caught = catch_unwind(|| std::panic::resume_unwind(Box::new("on purpose")));
    i32::from(caught.is_err())
}
