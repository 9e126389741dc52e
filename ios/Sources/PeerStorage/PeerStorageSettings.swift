import Foundation

/// How ``IOSPeerStorage`` opens and drives the storage of one wallet. Durations are in seconds.
public struct PeerStorageSettings: Sendable {
    /// The Bitcoin network of the wallet.
    public var network: BitcoinNetwork
    /// The node id that the secret has to give, in hex; nil: any. The secret of another wallet is then an error
    /// before anything is written.
    public var expectedNodeId: String?
    /// The data directory; nil: ``PeerStorageDirectory/make(_:)``.
    public var directory: URL?
    /// What is kept for peers, and how backups are made.
    public var storage = StorageSettings()
    /// A SOCKS5 proxy for onion addresses, usually that of Tor: an IP address and a port, as "127.0.0.1:9050". All
    /// other addresses are dialled directly. Nil: onion addresses are not tried.
    public var torProxy: String?
    /// How long the storage may go on after the app was left. iOS gives about 30 s to all of the app together;
    /// what is left of them is asked for, and less is taken where less is left.
    public var backgroundBudget: TimeInterval = 15
    /// How long a background pass may take. iOS gives a refresh task about 30 s.
    public var passBudget: TimeInterval = 20
    /// How long the app may be left before anything is torn down, so that a share sheet or Face ID costs nothing.
    public var linger: TimeInterval = 5

    /// The wallet's secret, asked for at each opening, on no particular thread; it has to come from the Keychain
    /// (`kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly`). Nil while it is not to be had, such as before the
    /// first unlock after a reboot: the opening then fails as `Locked`, and is tried again at the next occasion.
    public var secret: @Sendable () async throws -> WalletSecret?
    /// Whether the wallet's own node runs, asked at each opening, on no particular thread: peers are then not visited
    /// beside it. What changes later is said by `onHostNodeChanged`.
    public var hostNodeRuns: @Sendable () -> Bool = { false }
    /// Called after each opening, on no particular thread, before ``IOSPeerStorage/storage()`` returns: the place to say
    /// what the directory is (`declareNew`, `adopt`), and to report the wallet where that can be done without
    /// its node. A process that was started for a background pass has nothing else to learn it from.
    public var opened: @Sendable (PeerStorage) async throws -> Void = { _ in }
    /// Called when the app was left, before the storage comes to rest, while iOS lets the app run: the place to stop the
    /// wallet's own node, to report the wallet as it then is, and to say `onHostNodeChanged(running: false)`. Only
    /// then can a backup be pushed. It shares ``backgroundBudget``.
    public var leaving: @Sendable (PeerStorage) async -> Void = { _ in }
    /// Told what went wrong where no caller could be, such as when the app came to the foreground.
    public var failed: @MainActor @Sendable (any Error) -> Void = { _ in }

    public init(network: BitcoinNetwork, secret: @escaping @Sendable () async throws -> WalletSecret?) {
        self.network = network
        self.secret = secret
    }
}

extension PeerStorageSettings {
    func open(visible: Bool, networkAvailable: Bool) async throws -> PeerStorage {
        guard let secret = try await secret() else {
            throw PeerStorageError.Locked(reason: "the wallet's secret cannot be read at present")
        }
        let config = OpenConfig(
            dataDir: try (directory ?? PeerStorageDirectory.make()).path,
            network: network,
            expectedNodeId: expectedNodeId,
            inForeground: visible,
            networkAvailable: networkAvailable,
            hostNodeRuns: hostNodeRuns(),
            storage: storage,
            torProxy: torProxy,
            lingerMs: linger.milliseconds
        )
        let storage = try await PeerStorage.open(config: config, secret: secret)
        do {
            try await opened(storage)
        } catch {
            // Left open it would keep the next attempt out.
            _ = try? await storage.shutdown(budgetMs: 0)
            throw error
        }
        return storage
    }
}

extension TimeInterval {
    /// Never negative, and never more than the library can take.
    var milliseconds: UInt64 {
        UInt64(Swift.min(Swift.max(self, 0), 1_000_000) * 1000)
    }
}
