// swift-tools-version:5.10
import PackageDescription

// Set by `cargo xtask swift`: the folder with the library built for this system. Then the tests and the sample
// are part of the package. Not set: the package is what an app gets, with the XCFramework beside this file.
let hostLibrary = Context.environment["PEER_STORAGE_LIBRARY_DIR"]

#if os(Linux)
// Linux has none of Apple's frameworks. These modules have their names and the few declarations that are used,
// so that the real files compile unchanged and their behaviour is tested. What Apple declares they cannot show.
let standIns = ["UIKit", "BackgroundTasks", "Network"]
#else
let standIns: [String] = []
#endif

let package = Package(
    name: "PeerStorage",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "PeerStorage", targets: ["PeerStorage"])],
    targets: standIns.map { .target(name: $0, path: "StandIns/\($0)", swiftSettings: strict) }
)

if let hostLibrary {
    package.targets += [
        .systemLibrary(name: "PeerStorageFFI", path: "Sources/PeerStorageFFI"),
        sdk(linkedTo: hostLibrary),
        .target(name: "PeerStorageTestSupport", dependencies: ["PeerStorage"], path: "Tests/Support", swiftSettings: strict),
        .testTarget(
            name: "PeerStorageTests",
            dependencies: ["PeerStorage", "PeerStorageFFI", "PeerStorageTestSupport"] + dependencies(on: standIns),
            path: "Tests/PeerStorageTests",
            swiftSettings: strict
        ),
        .executableTarget(
            name: "Scenarios",
            dependencies: ["PeerStorage", "PeerStorageTestSupport"],
            path: "Tests/Scenarios",
            swiftSettings: strict
        ),
        .executableTarget(
            name: "Wallet",
            dependencies: ["PeerStorage", "PeerStorageTestSupport"],
            path: "Samples/Wallet",
            swiftSettings: strict
        ),
    ]
} else {
    package.targets += [
        .binaryTarget(name: "PeerStorageFFI", path: "PeerStorageFFI.xcframework"),
        sdk(linkedTo: nil),
    ]
}

func sdk(linkedTo folder: String?) -> Target {
    .target(
        name: "PeerStorage",
        dependencies: ["PeerStorageFFI"] + dependencies(on: standIns),
        path: "Sources/PeerStorage",
        swiftSettings: strict,
        linkerSettings: folder.map { [.unsafeFlags(["-L\($0)", "-Xlinker", "-rpath", "-Xlinker", $0])] }
    )
}

func dependencies(on names: [String]) -> [Target.Dependency] {
    names.map { .byName(name: $0) }
}

// The rules of Swift 6 on data shared between threads are errors in tests. Apps compile the package as Swift 5.
var strict: [SwiftSetting] {
    hostLibrary == nil ? [] : [.unsafeFlags(["-swift-version", "6"])]
}
