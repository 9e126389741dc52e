// The code of docs/ios.md. What stands between `guide:` and `end` stands there word for word: GuideTests compares.
import Foundation
import PeerStorage
import PeerStorageTestSupport
import UIKit

// What an app has already. It does as much as GuideRunTests needs to run what follows.

enum Keychain {
    static func words() throws -> String? { nil }
}

struct Wallet: Sendable {
    /// Written down when the wallet came to be, before its first opening.
    enum Origin { case wordsMadeHere, livedHere, wordsTypedIn }

    static let current: Wallet? = nil
    var origin = Origin.livedHere
    var nodeId = ""
    var node = Node()
    var turns = Turns()
    var report: @Sendable () -> WalletReport = { WalletReport(channels: [], peers: []) }
}

/// As ldk-node has it.
final class Node: Sendable {
    struct Status { let isRunning: Bool }
    struct Failed: Error {}

    let isRunning = Locked(false)
    let startFails = Locked(false)
    let stopFails = Locked(false)

    func start() throws {
        if startFails.now { throw Failed() }
        isRunning.with { $0 = true }
    }

    func stop() throws {
        if stopFails.now || !isRunning.now { throw Failed() }
        isRunning.with { $0 = false }
    }

    func status() -> Status { Status(isRunning: isRunning.now) }
}

@MainActor
final class Screen {
    func show(_ status: StorageStatus) {}
    func show(_ event: StorageEvent) {}
    func show(_ alarms: [StorageAlarm]) {}
    func showRecovery(of channels: UInt32) {}
    func show(_ report: RestoreReport) async -> Bool { true }
    func agrees(to channels: [PlannedChannel], of plan: RecoveryPlan) async -> RecoveryConsent? { nil }
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
            let report = wallet.report()
            try storage.reportWallet(report: report)
            guard try storage.status().past == .unknown else { return }
            switch (wallet.origin, report.channels.isEmpty) { // Say what it is, once. Until then nothing is pushed.
            case (.wordsMadeHere, true): try await storage.declareNew()
            case (.wordsMadeHere, false), (.livedHere, false): try await storage.adopt() // Only the directory is new.
            case (.livedHere, true), (.wordsTypedIn, _): break // Peers may know more: a restore comes first (6).
            }
        }
        settings.failed = { error in print("backup: \(error)") }
        return settings
    }
}
// end

// guide: node
/// One after the other, in the order in which they were asked for.
actor Turns {
    private var last: Task<Void, Never>?

    func take(_ work: @escaping @Sendable () async throws -> Void) async throws {
        let before = last
        let turn = Task {
            await before?.value
            try await work()
        }
        last = Task { _ = await turn.result }
        try await turn.value
    }
}

extension Wallet {
    /// In the foreground, before anything is paid.
    func startNode(_ backup: IOSPeerStorage, _ screen: Screen) async throws {
        let storage = try await backup.storage()
        try await turns.take {
            if node.status().isRunning { return }
            guard await UIApplication.shared.applicationState != .background else { return } // Left by now.
            try storage.reportWallet(report: report())
            switch try await storage.checkBeforeNodeStart(budgetMs: 3000) {
            case .nothingKnownAgainst, .unknown: // Unknown: nobody could be asked. Start as without this check.
                defer { storage.onHostNodeChanged(running: node.status().isRunning) } // Also where it did not start.
                try node.start()
            case .doNotStart(let alarms): // Starting could cost all funds of a channel. Ask the person.
                await screen.show(alarms)
            case .restored(let channels): // No node on these words before the recovery: peers would close for it.
                await screen.showRecovery(of: channels)
            }
        }
    }

    /// As `settings.leaving`: iOS still lets the app run.
    func stopNode(_ storage: PeerStorage) async {
        try? await turns.take {
            defer { storage.onHostNodeChanged(running: node.status().isRunning) } // Also where it did not stop.
            try node.stop()
            try storage.reportWallet(report: report()) // Its lists are final now.
        }
    }

    func isBeside(_ settings: inout PeerStorageSettings) {
        settings.hostNodeRuns = { node.status().isRunning }
        settings.leaving = { storage in await stopNode(storage) }
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
func restore(_ storage: PeerStorage, from peers: [WalletPeer], through chain: ChainAccess, on screen: Screen) async throws {
    let result = try await storage.restore(peers: peers, budgetMs: 60_000) // Closes nothing, pushes nothing.
    guard await screen.show(result.report) else { return } // Ask again for peers that were not heard.

    // `chain`: `.esplora(url: "https://blockstream.info/api", proxy: nil)`, or `.host` with what the app has.
    let recovery = try await storage.startRecovery(chain: chain, settings: RecoverySettings(), listener: nil)
    let plan = try await recovery.plan(peers: peers, budgetMs: 60_000)
    let channels = plan.channels.filter { $0.claim != .unsupported } // Of the others nothing can come back.
    guard let consent = await screen.agrees(to: channels, of: plan) else { return }
    try await recovery.agree(planId: plan.id, consent: consent) // From here on channels are closed.
    try await carryOut(recovery)
}

/// It may be killed anywhere: go on with `startRecovery` and this.
func carryOut(_ recovery: Recovery) async throws {
    while true {
        do {
            let progress = try await recovery.step()
            if progress.done { return }
            try await Task.sleep(nanoseconds: progress.nextRoundInMs * 1_000_000)
        } catch PeerStorageError.Chain(_, mayPass: true), PeerStorageError.NotNow, PeerStorageError.Suspended {
            // No server, no network, a node that runs, in the background: nothing is lost, and it passes.
            try await Task.sleep(nanoseconds: 5_000_000_000)
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
