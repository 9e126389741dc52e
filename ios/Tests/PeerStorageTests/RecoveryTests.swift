import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// A wallet that was lost, and comes back through a chain source that is written in Swift, by the code of the guide.
final class RecoveryTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    @MainActor
    func test_coins_come_back_through_a_chain_source_in_swift() async throws {
        let world = try World()
        defer { world.end() }
        let lost = try Lost(world)
        let chain = HostChain(lost.world["esplora"]?.string ?? "")
        let storage = try await lost.opened()
        _ = try await storage.restore(peers: lost.peers, budgetMs: 20_000)
        let events = Locked(0)
        let recovery = try await storage.startRecovery(
            chain: .host(source: chain), settings: RecoverySettings(stayMs: 1000), listener: Hears { _ in events.with { $0 += 1 } }
        )
        let plan = try await recovery.plan(peers: lost.peers, budgetMs: 20_000)
        XCTAssertEqual(plan.channels.map(\.state), [.open])
        try await recovery.agree(planId: plan.id, consent: lost.consent(to: plan.channels))
        var progress = try await recovery.step()
        while !progress.done {
            try world.mines()
            progress = try await recovery.step()
        }
        XCTAssertEqual(progress.recoveredSat + progress.feesSat, lost.owned)
        XCTAssertEqual(progress.kept.count, 0)
        let balance = try world.tell(["do": "balance", "address": lost.world["sweep_to"] ?? .null])
        XCTAssertEqual(balance["sat"]?.number, progress.recoveredSat)
        XCTAssertGreaterThan(events.now, 0)
        for call in ["tip", "headerAt", "transaction", "spendOf", "broadcast"] {
            XCTAssertGreaterThan(chain.calls.now[call] ?? 0, 0, call)
        }
        _ = try await storage.shutdown(budgetMs: 5000)
    }

    @MainActor
    func test_what_a_chain_source_throws_reaches_the_caller() async throws {
        struct Unforeseen: Error {}
        let directory = try TemporaryDirectory()
        let storage = try await PeerStorage.open(in: directory.url)
        let chain = HostChain("http://127.0.0.1:1")
        let recovery = try await storage.startRecovery(chain: .host(source: chain), settings: RecoverySettings(), listener: nil)
        let thrown: [(any Error, Bool)] = [
            (ChainSourceError.Unreachable(reason: "none"), true), (Unforeseen(), true), (ChainSourceError.WrongChain, false),
        ]
        for (error, passes) in thrown {
            chain.failure.with { $0 = error }
            do {
                _ = try await recovery.plan(peers: [], budgetMs: 0)
                XCTFail("planned in spite of \(error)")
            } catch PeerStorageError.Chain(let reason, let mayPass) {
                XCTAssertEqual(mayPass, passes, reason)
            }
        }
        _ = try await storage.shutdown(budgetMs: 1000)
    }

    @MainActor
    func test_the_recovery_of_the_guide_goes_on_over_what_passes() async throws {
        let world = try World()
        defer { world.end() }
        let lost = try Lost(world)
        let chain = HostChain(lost.world["esplora"]?.string ?? "")
        let storage = try await lost.opened()
        _ = try await storage.restore(peers: lost.peers, budgetMs: 20_000)
        let settings = RecoverySettings(stayMs: 1000)
        let recovery = try await storage.startRecovery(chain: .host(source: chain), settings: settings, listener: nil)
        let plan = try await recovery.plan(peers: lost.peers, budgetMs: 20_000)
        try await recovery.agree(planId: plan.id, consent: lost.consent(to: plan.channels))

        // Each of these is what its step meets, one after the other.
        storage.onNetworkChanged(available: false)
        let carryingOut = Task { try await carryOut(recovery) }
        let isOver = Locked(false)
        let watching = Task {
            defer { isOver.with { $0 = true } }
            try await carryingOut.value
        }
        try await Task.sleep(nanoseconds: 500_000_000)
        XCTAssertFalse(isOver.now, "over without a network")
        chain.failure.with { $0 = ChainSourceError.Unreachable(reason: "none") }
        let before = chain.calls.now["tip"] ?? 0
        storage.onNetworkChanged(available: true)
        try await eventually("the server is asked") { chain.calls.now["tip"] ?? 0 > before }
        try await Task.sleep(nanoseconds: 500_000_000)
        XCTAssertFalse(isOver.now, "over without a server")
        _ = try await storage.onBackground(budgetMs: 2000)
        chain.failure.with { $0 = nil }
        try await Task.sleep(nanoseconds: 6_000_000_000)
        XCTAssertFalse(isOver.now, "over in the background")
        let reached = chain.calls.now["tip"] ?? 0
        storage.onForeground()
        try await eventually("it goes on") { chain.calls.now["tip"] ?? 0 > reached }
        carryingOut.cancel()
        try? await watching.value
        _ = try await storage.shutdown(budgetMs: 5000)
    }
}

/// A phone that had one channel and is lost: what its owner has.
@MainActor
private final class Lost {
    let world: JSON
    let owned: UInt64
    private let place: TemporaryDirectory

    var peers: [WalletPeer] { (world["peers"]?.object ?? [:]).map { WalletPeer($0.value) } }

    /// Until the phone was lost.
    init(_ world: World) throws {
        place = try TemporaryDirectory()
        self.world = try world.tell([
            "do": "start", "name": "swift_chain_source", "peers": [["name": "bert", "kind": "stock"]],
        ])
        _ = try world.tell(["do": "node_start"])
        _ = try world.tell(["do": "open_channel", "peer": "bert", "sat": 1_000_000])
        _ = try world.tell(["do": "node_stop"])
        owned = try world.tell(["do": "channels"])["owned_sat"]?.number ?? 0
        _ = try world.tell(["do": "node_lost"])
    }

    /// On a new phone.
    func opened() async throws -> PeerStorage {
        let secret = try WalletSecret.fromLdkSeed(bytes: Data(hex: world["seed"]?.string ?? ""))
        return try await PeerStorage.open(in: place.url, secret: secret)
    }

    func consent(to channels: [PlannedChannel]) -> RecoveryConsent {
        RecoveryConsent(
            channels: channels.map(\.ids), sweepTo: world["sweep_to"]?.string ?? "", feeRateSatPerKwu: 1000,
            highestFeeRateSatPerKwu: 5000, oldDeviceIsGone: true, closesChannelsWithoutKeys: true, goesOnWithoutUnheardPeers: true
        )
    }
}

private final class Hears: RecoveryListener {
    private let heard: @Sendable (RecoveryEvent) -> Void

    init(_ heard: @escaping @Sendable (RecoveryEvent) -> Void) {
        self.heard = heard
    }

    func onEvent(event: RecoveryEvent) { heard(event) }
}

extension World {
    fileprivate func mines() throws { _ = try tell(["do": "mine", "blocks": 1]) }
}
