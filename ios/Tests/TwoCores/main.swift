// One program with two Rust cores in it, both from static archives: the SDK, and what stands for another wallet's. Each
// has an SQLite and a libsecp256k1 of its own, and neither may meet the other's.
import Foundation
import OtherWallet
import PeerStorage

let place = FileManager.default.temporaryDirectory.appendingPathComponent("two-cores-\(UUID().uuidString)")
try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(at: place) }

func check(_ what: String, _ holds: Bool) {
    guard holds else {
        print("two cores: FAILED: \(what)")
        exit(1)
    }
}

let secret = try WalletSecret.fromLdkSeed(bytes: Data(repeating: 7, count: 32))

/// Signs for itself, writes and reads its database, and finds again what it wrote before.
func sdkWorks(_ round: UInt32) async throws {
    let config = OpenConfig(dataDir: place.appendingPathComponent("sdk").path, network: .regtest, networkAvailable: false)
    let storage = try await PeerStorage.open(config: config, secret: secret)
    let status = try storage.status()
    check("what the SDK wrote before", status.past == (round == 0 ? .unknown : .known))
    if round == 0 { try await storage.declareNew() }
    try await storage.setAppData(data: Data(repeating: UInt8(round), count: 1000))
    let report = try await storage.shutdown(budgetMs: 5000)
    check("the SDK closes", report.closed)
}

do {
    try await sdkWorks(0)
    check("the other's database", other_wallet_counts_rows(place.appendingPathComponent("other.db").path) == 1000)
    check("the other signs", other_wallet_signs() == 1)
    check("the other survives a panic", other_wallet_survives_a_panic() == 1)
    check("the SDK has a node id", secret.nodeId().count == 66)
    try await sdkWorks(1)

    // From here on one of them has an SQLite without memory, and only that one.
    check("the other's SQLite takes the limit", other_wallet_forbids_its_sqlite_memory() == 1)
    check("the other's database, without memory", other_wallet_counts_rows(place.appendingPathComponent("more.db").path) < 0)
    try await sdkWorks(2)
    print("two cores: ok")
} catch {
    print("two cores: FAILED: \(error)")
    exit(1)
}
