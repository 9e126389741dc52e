//! The names that the library shows to the rest of a process. Another library in it may have SQLite,
//! libsecp256k1 or LDK, too, and what both export is taken from one of them for both.

use std::path::Path;
use std::process::Command;

use crate::shell::{captured, Outcome};

/// An error, unless all that is exported is the bindings'.
pub fn are_ours(library: &Path) -> Outcome {
    if !cfg!(target_os = "linux") {
        println!("exported names are checked on Linux alone");
        return Ok(());
    }
    let listed = captured(
        Command::new("nm")
            .args(["-D", "--defined-only", "--format=posix"])
            .arg(library),
    )?;
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    let (ours, others): (Vec<_>, Vec<_>) = names.partition(|name| is_ours(name));
    match (ours.as_slice(), others.as_slice()) {
        ([], _) => Err(format!("{} exports no API", library.display())),
        (ours, []) => {
            println!(
                "{} names are exported, and none that may not be",
                ours.len()
            );
            Ok(())
        }
        (_, others) => Err(format!(
            "{} exports what is not of the bindings: {}",
            library.display(),
            others.join(", ")
        )),
    }
}

fn is_ours(name: &str) -> bool {
    const BINDINGS: [&str; 3] = [
        "uniffi_peer_storage_ffi_",
        "ffi_peer_storage_ffi_",
        // Read by the generators; an app does not call them.
        "UNIFFI_META_",
    ];
    BINDINGS.iter().any(|start| name.starts_with(start)) || is_of_secp256k1_sys(name)
}

/// The crate defines these four in Rust and marks them for export, which nobody can undo. Their names have
/// its version in them, so that whoever has the same name has the same code.
fn is_of_secp256k1_sys(name: &str) -> bool {
    const PARTS: [&str; 4] = [
        "context_create",
        "context_destroy",
        "default_error_callback_fn",
        "default_illegal_callback_fn",
    ];
    let versioned = name.strip_prefix("rustsecp256k1_v");
    versioned.is_some_and(|rest| {
        let version = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
        PARTS.contains(&version)
    })
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn names_of_other_libraries_are_not_ours() {
        for ours in [
            "uniffi_peer_storage_ffi_fn_func_sdk_version",
            "ffi_peer_storage_ffi_rust_future_poll_u8",
            "UNIFFI_META_PEER_STORAGE_FFI_FUNC_SDK_VERSION",
            "rustsecp256k1_v0_10_0_context_create",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "sqlite3_open",
            "secp256k1_context_create",
            "rustsecp256k1_v0_10_0_ecdsa_sign",
            "rustsecp256k1_vcontext_create_more",
            "uniffi_ldk_node_fn_func_version",
            "ring_core_0_17_14__x25519_ge_scalarmult_base",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
