#!/usr/bin/env bash
# Makes PeerStorageFFI.xcframework and the generated Swift beside this script: then this folder is a Swift package
# that an app can use. On macOS, with Xcode and Rust:
#
#     rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin
#     ios/make-xcframework.sh [--release URL]
#
# With --release also target/ios/release: the package as it is published, whose framework is fetched from URL, and
# the zip that belongs there.
#
# The frameworks are dynamic. In a static library SQLite's and libsecp256k1's functions would meet those of other
# libraries in the app, such as ldk-node's, and an app and its extensions would each carry a copy.
#
# NOT RUN YET: the project's own machines have no Xcode.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

NAME=PeerStorageFFI
BUNDLE_ID=org.peerstorage.PeerStorageFFI
IOS=15.0
MACOS=12.0

# Also for the C code: without it its objects are stamped with the newest version, and the linker warns of each.
export IPHONEOS_DEPLOYMENT_TARGET=$IOS MACOSX_DEPLOYMENT_TARGET=$MACOS
# The profile `mobile` of Cargo.toml, with line numbers for the dSYMs.
export CARGO_PROFILE_MOBILE_DEBUG=line-tables-only CARGO_PROFILE_MOBILE_STRIP=none

TARGET_DIR=${CARGO_TARGET_DIR:-target}
[[ $TARGET_DIR == /* ]] || TARGET_DIR=$PWD/$TARGET_DIR
OUT=$TARGET_DIR/ios
VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

main() {
    local url=
    case "${1-}" in
        '') ;;
        --release) url=${2:?--release needs the URL that the zip will have} ;;
        *) echo "usage: ios/make-xcframework.sh [--release URL]" >&2; exit 2 ;;
    esac
    local tool
    for tool in cargo xcodebuild lipo dsymutil strip nm plutil swift; do
        command -v "$tool" >/dev/null || { echo "$tool not found: this needs macOS with Xcode, and Rust" >&2; exit 1; }
    done
    rm -rf "$OUT"
    mkdir -p "$OUT"

    cargo xtask bindings --out "$OUT/bindings"
    mkdir -p ios/Sources/PeerStorage/Generated
    cp "$OUT/bindings/swift/PeerStorage.swift" ios/Sources/PeerStorage/Generated/

    framework ios iPhoneOS $IOS aarch64-apple-ios
    framework ios-simulator iPhoneSimulator $IOS aarch64-apple-ios-sim x86_64-apple-ios
    framework macos MacOSX $MACOS aarch64-apple-darwin x86_64-apple-darwin

    rm -rf "ios/$NAME.xcframework"
    local kind arguments=()
    for kind in ios ios-simulator macos; do
        arguments+=(-framework "$OUT/$kind/$NAME.framework" -debug-symbols "$OUT/$kind/$NAME.framework.dSYM")
    done
    xcodebuild -create-xcframework "${arguments[@]}" -output "ios/$NAME.xcframework"
    [ -z "$url" ] || release "$url"
    echo "made ios/$NAME.xcframework"
}

# framework FOLDER PLATFORM OLDEST RUST-TARGET...
framework() {
    local dir=$OUT/$1 platform=$2 oldest=$3
    shift 3
    local place=$NAME.framework/$NAME target libraries=()
    # On macOS a framework has versions, elsewhere it is flat.
    [ "$platform" != MacOSX ] || place=$NAME.framework/Versions/A/$NAME
    for target in "$@"; do
        cargo rustc --profile mobile --locked --package peer-storage-ffi --lib --crate-type cdylib \
            --features small-tables --target "$target" -- -C "link-arg=-Wl,-install_name,@rpath/$place"
        libraries+=("$TARGET_DIR/$target/mobile/libpeer_storage_ffi.dylib")
    done

    local contents=$dir/$NAME.framework
    [ "$platform" != MacOSX ] || contents=$contents/Versions/A
    local resources=$contents
    [ "$platform" != MacOSX ] || resources=$contents/Resources
    mkdir -p "$contents/Headers" "$contents/Modules" "$resources"
    lipo -create "${libraries[@]}" -output "$contents/$NAME"
    exports_only_ours "$contents/$NAME"
    dsymutil "$contents/$NAME" -o "$dir/$NAME.framework.dSYM"
    strip -x "$contents/$NAME"
    cp "$OUT/bindings/swift/$NAME.h" "$contents/Headers/"
    # In the framework itself: at the top of the build products it would meet those of other packages.
    printf 'framework module %s {\n    umbrella header "%s.h"\n    export *\n}\n' $NAME $NAME >"$contents/Modules/module.modulemap"
    info_plist "$platform" "$oldest" >"$resources/Info.plist"
    cp ios/PrivacyInfo.xcprivacy "$resources/"
    plutil -lint "$resources/Info.plist" "$resources/PrivacyInfo.xcprivacy"
    if [ "$platform" = MacOSX ]; then
        ln -s A "$dir/$NAME.framework/Versions/Current"
        local part
        for part in $NAME Headers Modules Resources; do
            ln -s "Versions/Current/$part" "$dir/$NAME.framework/$part"
        done
    fi
}

# Nothing of the C libraries inside may be seen from outside.
exports_only_ours() {
    if nm -gU "$1" | grep -E ' _(sqlite3|secp256k1|ring_core|aws_lc)'; then
        echo "$1 exports functions of libraries inside it" >&2
        return 1
    fi
    nm -gU "$1" | grep -q ' _ffi_peer_storage' || { echo "$1 does not export the API" >&2; return 1; }
}

info_plist() {
    local minimum=MinimumOSVersion
    [ "$1" != MacOSX ] || minimum=LSMinimumSystemVersion
    cat <<END
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
    <key>CFBundleExecutable</key><string>$NAME</string>
    <key>CFBundleIdentifier</key><string>$BUNDLE_ID</string>
    <key>CFBundleInfoDictionaryVersion</key><string>6.0</string>
    <key>CFBundleName</key><string>$NAME</string>
    <key>CFBundlePackageType</key><string>FMWK</string>
    <key>CFBundleShortVersionString</key><string>$VERSION</string>
    <key>CFBundleSupportedPlatforms</key><array><string>$1</string></array>
    <key>CFBundleVersion</key><string>1</string>
    <key>$minimum</key><string>$2</string>
</dict>
</plist>
END
}

# The package as it is published: its sources, and a framework that is fetched.
release() {
    local zip=$OUT/$NAME.xcframework.zip release=$OUT/release
    (cd ios && zip -qry - "$NAME.xcframework") >"$zip"
    local checksum
    checksum=$(swift package --package-path ios compute-checksum "$zip")
    mkdir -p "$release"
    cp -R ios/Sources LICENSE-APACHE LICENSE-MIT "$release/"
    rm -rf "$release/Sources/$NAME"
    sed "s|path: \"$NAME.xcframework\"|url: \"$1\", checksum: \"$checksum\"|" ios/Package.swift >"$release/Package.swift"
    grep -q "$checksum" "$release/Package.swift"
    echo "made $release, and $zip for $1"
}

main "$@"
