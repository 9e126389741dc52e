import Foundation
import PeerStorage

/// A directory that goes with the object.
public final class TemporaryDirectory: Sendable {
    public let url: URL

    public init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("peer-storage-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: url)
    }
}

/// The secret of a wallet that no one else has.
public func anySecret(_ number: UInt8 = 7) throws -> WalletSecret {
    try WalletSecret.fromLdkSeed(bytes: Data(repeating: number, count: 32))
}

extension PeerStorage {
    public static func open(
        in directory: URL,
        secret: WalletSecret? = nil,
        inForeground: Bool = true,
        networkAvailable: Bool = true,
        lingerMs: UInt64 = 0
    ) async throws -> PeerStorage {
        let config = OpenConfig(
            dataDir: directory.path,
            network: .regtest,
            inForeground: inForeground,
            networkAvailable: networkAvailable,
            lingerMs: lingerMs
        )
        return try await open(config: config, secret: secret ?? anySecret())
    }
}

/// A wallet with so many ready channels, each with a peer of its own that cannot be reached.
public func report(channels: Int) throws -> WalletReport {
    let ids = try (0..<channels).map { number in
        try anySecret(UInt8(100 + number)).nodeId()
    }
    return WalletReport(
        channels: ids.enumerated().map { number, peer in
            let txid = String(repeating: String(format: "%02x", number + 1), count: 32)
            return WalletChannel(
                channelId: txid,
                counterpartyNodeId: peer,
                fundingOutpoint: "\(txid):0",
                shortChannelId: UInt64(number + 1) << 40,
                confirmations: 6,
                isReady: true,
                valueSat: 100_000,
                stateStamp: 3
            )
        },
        peers: ids.map { WalletPeer(nodeId: $0, addresses: ["127.0.0.1:1"]) }
    )
}
