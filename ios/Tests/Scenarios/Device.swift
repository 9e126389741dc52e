import Foundation
import PeerStorage
import PeerStorageTestSupport

/// A data directory, and what is open of it.
@MainActor
final class Device {
    let directory: URL
    var opened: PeerStorage?
    var hold: Hold?
    var report: WalletReport?
    var eventKinds: [String] = []
    var recovery: Recovery?
    var plan: RecoveryPlan?

    init(directory: URL) {
        self.directory = directory
    }

    var storage: PeerStorage {
        get throws {
            guard let opened else { throw Failure("nothing is open on this device") }
            return opened
        }
    }

    func end() async throws {
        recovery = nil
        hold = nil
        _ = try await opened?.shutdown(budgetMs: 20000)
        opened = nil
    }
}
