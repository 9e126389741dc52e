#!/bin/sh
# Makes a static archive of the SDK that shares nothing with others in the same program:
#
#     ios/static-archive.sh libpeer_storage_ffi.a OUT.a
#
# For Linux (or with GNU binutils elsewhere); an app gets the dynamic framework of make-xcframework.sh, where the linker
# sees to the same. As cargo makes it, the archive shows all that is in it: SQLite, libsecp256k1, Rust's own library.
# Beside another Rust core the linker then takes each function from whichever archive comes first, for both.
#
# All is linked into one object, without debug information, in which only the API keeps its names. Groups are
# dissolved: by a group's name the linker would still drop one of two, whatever is hidden.
set -eu

in=$1 out=$2
object=${out%.a}.o
ld -r --strip-debug --force-group-allocation --whole-archive "$in" -o "$object"
objcopy --wildcard \
    --keep-global-symbol 'ffi_peer_storage_ffi_*' \
    --keep-global-symbol 'uniffi_peer_storage_ffi_*' \
    "$object"
rm -f "$out"
ar rcs "$out" "$object"
rm "$object"
