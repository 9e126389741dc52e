// The code of docs/ios.md. What stands between `guide:` and `end` stands there word for word: GuideTests compares.
import Foundation
import PeerStorage
import UIKit

// What an app has already.

enum Keychain {
    static func words() throws -> String? { nil }
}

struct Wallet: Sendable {
    static let current: Wallet? = nil
    let isBrandNew: Bool
    let nodeId: String
    let node: Node
    func report() -> WalletReport { WalletReport(channels: [], peers: []) }
}

/// As ldk-node has it.
struct Node: Sendable {
    func start() throws {}
    func stop() throws {}
}

@MainActor
final class Screen {
    func show(_ status: StorageStatus) {}
    func show(_ event: StorageEvent) {}
    func show(_ alarms: [StorageAlarm]) {}
    func showRecovery(of channels: UInt32) {}
    func show(_ plan: RecoveryPlan) async -> RecoveryConsent? { nil }
    func show(_ report: RestoreReport) async -> Bool { true }
}

// guide: delegate
final class AppDelegate: UIResponder, UIApplicationDelegate {
    private(set) var backup: IOSPeerStorage?

    func application(
        _ application: UIApplication,
        didFinishLaunchingWithOptions launchOptions: [UIApplication.LaunchOptionsKey: Any]? = nil
    ) -> Bool {
        IOSPeerStorage.registerBackgroundRefresh(identifier: "com.example.wallet.backup") // At every launch.
        if let wallet = Wallet.current { // none yet: do the same as soon as there is one
            backup = IOSPeerStorage(settings(for: wallet))
        }
        return true
    }

    private func settings(for wallet: Wallet) -> PeerStorageSettings {
        var settings = PeerStorageSettings(network: .bitcoin) {
            // Nil before the first unlock after a reboot; it is asked for again then.
            try Keychain.words().map { try WalletSecret.fromLdkNodeMnemonic(words: $0, passphrase: "") }
        }
        settings.expectedNodeId = wallet.nodeId
        settings.opened = { storage in
            try storage.reportWallet(report: wallet.report())
            guard try storage.status().past == .unknown else { return }
            // Say what it is, once. Until then nothing is pushed to anyone.
            if wallet.isBrandNew {
                try await storage.declareNew()
            } else {
                try await storage.adopt() // The wallet lives on this device; only the directory is new.
            }
        }
        settings.failed = { error in print("backup: \(error)") }
        return settings
    }
}
// end

// guide: node
extension Wallet {
    /// In the foreground, before anything is paid.
    func startNode(_ backup: IOSPeerStorage, _ screen: Screen) async throws {
        let storage = try await backup.storage()
        try storage.reportWallet(report: report())
        switch try await storage.checkBeforeNodeStart(budgetMs: 3000) {
        case .nothingKnownAgainst, .unknown: // Unknown: nobody could be asked. Start as without this check.
            try node.start()
        case .doNotStart(let alarms): // Starting could cost all funds of a channel. Ask the person.
            await screen.show(alarms)
        case .restored(let channels): // No node on these words before the recovery: peers would close for it.
            await screen.showRecovery(of: channels)
        }
    }

    /// As `settings.leaving`: iOS still lets the app run.
    func stopNode(_ storage: PeerStorage) async {
        try? node.stop()
        try? storage.reportWallet(report: report()) // Its lists are final now.
        storage.onHostNodeChanged(running: false)
    }
}
// end

// guide: report
extension WalletReport {
    /// From ldk-node's `listChannels()` and `listPeers()`.
    init(_ channels: [ChannelDetails], _ peers: [PeerDetails], sweeping: [WalletChannel]) {
        self.init(
            channels: channels.map { channel in
                WalletChannel(
                    channelId: channel.channelId,
                    counterpartyNodeId: channel.counterpartyNodeId,
                    fundingOutpoint: channel.fundingTxo.map { "\($0.txid):\($0.vout)" },
                    shortChannelId: channel.shortChannelId,
                    confirmations: channel.confirmations,
                    isReady: channel.isChannelReady,
                    valueSat: channel.channelValueSats
                )
            } + sweeping, // Closed, and not yet swept and buried: with `isClosed: true`, until `channelSwept`.
            peers: peers.map { WalletPeer(nodeId: $0.nodeId, addresses: [$0.address]) }
        )
    }
}
// end

// guide: show
@MainActor
func follow(_ storage: PeerStorage, on screen: Screen) async throws {
    async let statuses: Void = showStatuses(of: storage, on: screen)
    for try await record in storage.events() {
        screen.show(record.event) // Dealt with when this body ends. Left before: told again.
    }
    await statuses
}

@MainActor
func showStatuses(of storage: PeerStorage, on screen: Screen) async {
    for await status in storage.statuses() {
        screen.show(status)
    }
}
// end

// guide: restore
@MainActor
func restore(_ storage: PeerStorage, from peers: [WalletPeer], on screen: Screen) async throws {
    let result = try await storage.restore(peers: peers, budgetMs: 60_000) // Closes nothing, pushes nothing.
    guard await screen.show(result.report) else { return } // Ask again for peers that were not heard.

    let chain = ChainAccess.esplora(url: "https://blockstream.info/api", proxy: nil)
    let recovery = try await storage.startRecovery(chain: chain, settings: RecoverySettings(), listener: nil)
    let plan = try await recovery.plan(peers: peers, budgetMs: 60_000)
    guard let consent = await screen.show(plan) else { return }
    try await recovery.agree(planId: plan.id, consent: consent) // From here on channels are closed.

    while true { // It may be killed anywhere: start again with `startRecovery`.
        do {
            let progress = try await recovery.step()
            if progress.done { return }
            try await Task.sleep(nanoseconds: progress.nextRoundInMs * 1_000_000)
        } catch PeerStorageError.Chain(_, mayPass: true) {
            try await Task.sleep(nanoseconds: 60_000_000_000)
        } catch PeerStorageError.Suspended {
            try await Task.sleep(nanoseconds: 1_000_000_000) // In the background; it goes on in the foreground.
        }
    }
}
// end

// guide: pass
@MainActor
func woken(by backup: IOSPeerStorage) async -> UIBackgroundFetchResult {
    do {
        try await backup.runBackgroundPass()
        return .newData
    } catch {
        return .failed
    }
}
// end

/// As ldk-node has them.
struct ChannelDetails {
    struct OutPoint {
        let txid: String
        let vout: UInt32
    }
    let channelId: String
    let counterpartyNodeId: String
    let fundingTxo: OutPoint?
    let shortChannelId: UInt64?
    let confirmations: UInt32?
    let isChannelReady: Bool
    let channelValueSats: UInt64
}

struct PeerDetails {
    let nodeId: String
    let address: String
}
