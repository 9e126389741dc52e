import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// Cancelling a Swift `Task` does not reach the library: a call goes on to its end, within its budget, and its
/// outcome is the same.
final class CancellationTests: XCTestCase {
    func test_a_cancelled_call_goes_on_to_its_end() async throws {
        let directory = try TemporaryDirectory()
        let storage = try await PeerStorage.open(in: directory.url)
        let silent = try SilentServer()
        let peer = WalletPeer(nodeId: try anySecret(9).nodeId(), addresses: [silent.address])
        let start = Date()
        let call = Task { try await storage.syncWithPeers(peers: [peer], verify: false, budgetMs: 1000) }
        try await Task.sleep(nanoseconds: 50_000_000)
        call.cancel()
        let report = try await call.value
        XCTAssertGreaterThan(Date().timeIntervalSince(start), 0.6, "cut short") // A quarter is kept for the end.
        XCTAssertEqual(report.peers.map(\.nodeId), [peer.nodeId])

        let declared = Task { try await storage.declareNew() }
        declared.cancel()
        try await declared.value
        XCTAssertEqual(try storage.status().past, .known)
        _ = try await storage.shutdown(budgetMs: 2000)
    }

    func test_every_call_may_be_cancelled_at_any_moment() async throws {
        let directory = try TemporaryDirectory()
        let storage = try await PeerStorage.open(in: directory.url)
        try storage.reportWallet(report: report(channels: 3))
        let silent = try SilentServer()
        let peers = [WalletPeer(nodeId: try anySecret(9).nodeId(), addresses: [silent.address])]
        let calls: [@Sendable (PeerStorage) async throws -> Void] = [
            { _ = try await $0.onBackground(budgetMs: 30); $0.onForeground() },
            { _ = try await $0.runBackgroundPass(budgetMs: 30) },
            { _ = try await $0.checkBeforeNodeStart(budgetMs: 30); $0.onHostNodeChanged(running: false) },
            { _ = try await $0.syncWithPeers(peers: peers, verify: true, budgetMs: 30) },
            { _ = try await $0.restore(peers: peers, budgetMs: 30) },
            { _ = try await $0.restoreReport() },
            { _ = try await $0.finishRestore() },
            { try await $0.declareNew() },
            { try await $0.adopt() },
            { try await $0.setAppData(data: Data([1, 2, 3])) },
            { try await $0.channelSwept(channel: ChannelIds(shortChannelId: 1 << 50)) },
            { _ = try await $0.nextEvent() },
            { try await $0.eventHandled(id: 1) },
            { try await $0.resolveAlarm(id: 99, resolution: .stayHeld) },
            { _ = try await Self.recovery(of: $0).step() },
            { _ = try await Self.recovery(of: $0).plan(peers: peers, budgetMs: 30) },
            { _ = try await Self.recovery(of: $0).isBegun() },
            { _ = try await Self.recovery(of: $0).agreed() },
            { try await Self.recovery(of: $0).giveUp(channel: ChannelIds(shortChannelId: 1), peer: nil) },
            { _ = try await $0.messageRelay(listener: DeafListener()) },
            { _ in _ = try await moveAside(dataDir: TemporaryDirectory().url.path) },
            { _ in
                let other = try TemporaryDirectory()
                let opened = try await PeerStorage.open(in: other.url, networkAvailable: false)
                _ = try await opened.shutdown(budgetMs: 500)
            },
        ]
        let threads = ThisProcess.threads
        let cutShort = Locked(0)
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<1000 {
                if number >= 6 { await group.next() }
                group.addTask {
                    let isOver = Locked(false)
                    let call = Task {
                        defer { isOver.with { $0 = true } }
                        try await calls[number % calls.count](storage)
                    }
                    try? await Task.sleep(nanoseconds: .random(in: 0...2_000_000))
                    if !isOver.now { cutShort.with { $0 += 1 } }
                    call.cancel()
                    if case .failure(let error) = await call.result {
                        Self.check(error)
                    }
                }
            }
        }
        print("\(cutShort.now) of 1000 were cancelled under way")
        XCTAssertGreaterThan(cutShort.now, 200)
        storage.onHostNodeChanged(running: false)
        storage.onForeground()
        try await eventually("active") { try storage.status().activity == .active }
        try await storage.setAppData(data: Data([4]))
        let report = try await storage.shutdown(budgetMs: 5000)
        XCTAssertTrue(report.closed)
        XCTAssertEqual(ThisProcess.openFiles(in: directory.url), [])
        try await eventually("threads end") { ThisProcess.threads < threads + 8 }
    }

    private static func recovery(of storage: PeerStorage) async throws -> Recovery {
        let chain = ChainAccess.esplora(url: "http://127.0.0.1:1", proxy: nil)
        return try await storage.startRecovery(chain: chain, settings: RecoverySettings(), listener: nil)
    }

    /// Each may refuse what makes no sense at that moment. None may have broken.
    private static func check(_ error: any Error) {
        switch error {
        case PeerStorageError.Internal(let reason): XCTFail("internal: \(reason)")
        case is PeerStorageError: break
        default: XCTFail("\(error)")
        }
    }
}

private final class DeafListener: RelayListener {
    func onStepsWaiting() {}
}
