import Foundation
import PeerStorage
import PeerStorageTestSupport

#if canImport(Glibc)
import Glibc
#endif

/// The app on one phone, and where its files are.
struct Phone: Codable {
    let directory: URL
    private let world: JSON
    private let listed: JSON

    init(_ world: JSON, _ listed: JSON, directory: URL) {
        (self.world, self.listed, self.directory) = (world, listed, directory)
    }

    init(file: URL) throws {
        self = try JSONDecoder().decode(Phone.self, from: Data(contentsOf: file))
    }

    // MARK: What happens to it

    /// In a process of its own, which is killed at that moment.
    func isKilledInBackground(asSoonAs: () throws -> Void) throws {
        let file = directory.deletingLastPathComponent().appendingPathComponent("phone.json")
        try JSONEncoder().encode(self).write(to: file)
        let app = Process()
        app.executableURL = ownProgram
        app.arguments = [file.path]
        try app.run()
        try asSoonAs()
        _ = kill(app.processIdentifier, SIGKILL)
        app.waitUntilExit()
    }

    func backsUpInBackground() async throws {
        let storage = try await opened()
        try await storage.declareNew()
        try storage.reportWallet(report: WalletReport(listed))
        _ = try await storage.onBackground(budgetMs: 15_000)
        // iOS suspends it now.
        try await Task.sleep(nanoseconds: 60_000_000_000)
    }

    func resumes() async throws {
        let storage = try await opened()
        try storage.reportWallet(report: WalletReport(listed))
        _ = try await storage.syncWithPeers(peers: peers, verify: true, budgetMs: 20_000)
        for await status in storage.statuses() where status.verifiedBy == peers.count {
            say("\(status.verifiedBy) peers have returned the backup of \(status.channels) channels; \(status.unprotectedChannels) are unprotected.")
            break
        }
        switch try await storage.checkBeforeNodeStart(budgetMs: 3000) {
        case .nothingKnownAgainst: say("The node may start.")
        case let other: throw NeverHappened(description: "\(other)")
        }
        _ = try await storage.shutdown(budgetMs: 5000)
    }

    func recovers(_ aBlockIsFound: () throws -> Void) async throws -> RecoveryProgress {
        let storage = try await opened()
        let result = try await storage.restore(peers: [peers[0]], budgetMs: 20_000)
        say("\(result.report.answers.count) peers returned backups; they name \(result.report.channels.count) channels.")

        let chain = ChainAccess.esplora(url: world["esplora"]?.string ?? "", proxy: nil)
        let settings = RecoverySettings(stayMs: 1000) // The peers of this world close at once.
        let recovery = try await storage.startRecovery(chain: chain, settings: settings, listener: nil)
        let plan = try await recovery.plan(peers: [peers[0]], budgetMs: 20_000)
        say("The person agrees to close \(plan.channels.count) channels.")
        try await recovery.agree(planId: plan.id, consent: consent(to: plan))

        while true {
            let progress = try await recovery.step()
            if progress.done {
                _ = try await storage.shutdown(budgetMs: 5000)
                return progress
            }
            try aBlockIsFound()
        }
    }

    // MARK: What it knows

    private func opened() async throws -> PeerStorage {
        let secret = try WalletSecret.fromLdkSeed(bytes: Data(hex: world["seed"]?.string ?? ""))
        let config = OpenConfig(dataDir: directory.path, network: .regtest, expectedNodeId: world["node_id"]?.string)
        return try await PeerStorage.open(config: config, secret: secret)
    }

    private var peers: [WalletPeer] {
        (world["peers"]?.object ?? [:]).sorted { $0.key < $1.key }.map { WalletPeer($0.value) }
    }

    private func consent(to plan: RecoveryPlan) -> RecoveryConsent {
        RecoveryConsent(
            channels: plan.channels.map(\.ids),
            sweepTo: world["sweep_to"]?.string ?? "",
            feeRateSatPerKwu: 1000,
            highestFeeRateSatPerKwu: 5000,
            oldDeviceIsGone: true,
            closesChannelsWithoutKeys: false,
            goesOnWithoutUnheardPeers: false
        )
    }
}
