import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// What is opened and closed again and again stays as small as it was.
final class ChurnTests: XCTestCase {
    private static let seconds: TimeInterval = 20

    func test_opening_and_closing_a_thousand_times_leaves_nothing_behind() async throws {
        let directory = try TemporaryDirectory()
        let secret = try anySecret()
        func cycle(_ number: Int) async throws {
            let storage = try await PeerStorage.open(in: directory.url, secret: secret, networkAvailable: false)
            let statuses = storage.statuses()
            if number % 3 == 0 { _ = try await storage.onBackground(budgetMs: 2000) }
            let report = try await storage.shutdown(budgetMs: 2000)
            XCTAssertTrue(report.closed)
            withExtendedLifetime(statuses) {}
        }
        for number in 0..<50 { try await cycle(number) }
        let before = (memory: ThisProcess.memory, files: ThisProcess.fileDescriptors, threads: ThisProcess.threads)
        let end = Date(timeIntervalSinceNow: Self.seconds)
        var cycles = 0
        while cycles < 1000, Date() < end {
            try await cycle(cycles)
            cycles += 1
        }
        print("\(cycles) cycles, memory \(before.memory) kB before, \(ThisProcess.memory) kB after")
        XCTAssertGreaterThan(cycles, 100)
        XCTAssertEqual(ThisProcess.openFiles(in: directory.url), [])
        XCTAssertLessThanOrEqual(ThisProcess.fileDescriptors, before.files + 2)
        try await eventually("threads end") { ThisProcess.threads <= before.threads + 4 }
        // Less than 20 kB a cycle, whatever allocators keep.
        XCTAssertLessThan(ThisProcess.memory - before.memory, 20 * cycles)
    }
}
