import Foundation
import PeerStorage
import PeerStorageTestSupport
import UIKit
import XCTest

/// After a background call nothing of the library is alive: as the system says it, not the library.
final class AliveTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    @MainActor
    func test_left_in_the_midst_of_a_visit_nothing_is_alive() async throws {
        let silent = try SilentServer()
        let phone = try Phone { settings in
            settings.backgroundBudget = 3
            settings.opened = { storage in
                try await storage.declareNew()
                try storage.reportWallet(report: silent.reportOfOneChannel())
            }
        }
        let sockets = ThisProcess.sockets
        try await phone.becomesActive()
        try await eventually("visits the peer") { ThisProcess.sockets > sockets && working.contains("peer-storage-ne") }
        phone.app.goesToBackground()
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        try await nothingIsAlive(of: phone, sockets: sockets)
    }

    @MainActor
    func test_after_a_pass_in_a_cold_process_nothing_is_alive() async throws {
        let silent = try SilentServer()
        let phone = try Phone(startsIn: .background) { settings in
            settings.opened = { try $0.reportWallet(report: silent.reportOfOneChannel()) }
        }
        let sockets = ThisProcess.sockets
        let before = try await PeerStorage.open(in: phone.directory, networkAvailable: false)
        try await before.declareNew()
        _ = try await before.shutdown(budgetMs: 1000)
        let report = try await phone.wallet?.runBackgroundPass(budget: 2)
        XCTAssertEqual(report?.visits?.peers.count, 1)
        try await nothingIsAlive(of: phone, sockets: sockets)
    }

    /// What does the work: the storage and its writer, connections, passes. The others only wait to be told something.
    private var working: Set<String> {
        Set(ThisProcess.threadNames).intersection(["peer-storage", "peer-storage-st", "peer-storage-ne", "peer-storage-pa"])
    }

    @MainActor
    private func nothingIsAlive(of phone: Phone, sockets: Int) async throws {
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertEqual(ThisProcess.sockets, sockets)
        XCTAssertEqual(working, [])
        // Idle threads of the pool end after two seconds. Then none wakes up any more: there is no timer.
        try await eventually("no thread wakes up") {
            let before = ThisProcess.wakes(ofThreads: "peer-storage")
            try await Task.sleep(nanoseconds: 500_000_000)
            return ThisProcess.wakes(ofThreads: "peer-storage") == before
        }
        XCTAssertEqual(phone.openFiles, [])
    }
}
