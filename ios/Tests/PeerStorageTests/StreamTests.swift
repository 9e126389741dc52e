import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

final class StreamTests: XCTestCase {
    private func opened() async throws -> (PeerStorage, TemporaryDirectory) {
        let directory = try TemporaryDirectory()
        return (try await PeerStorage.open(in: directory.url, networkAvailable: false), directory)
    }

    func test_the_status_comes_as_it_is_then_after_each_change_and_ends_with_the_storage() async throws {
        let (storage, directory) = try await opened()
        defer { withExtendedLifetime(directory) {} }
        var pasts: [Past] = []
        var activities: [Activity] = []
        for await status in storage.statuses() {
            if pasts.isEmpty { try await storage.declareNew() }
            if pasts.last == .unknown, status.past == .known { _ = try await storage.shutdown(budgetMs: 1000) }
            pasts.append(status.past)
            activities.append(status.activity)
        }
        XCTAssertEqual(pasts.first, .unknown)
        XCTAssertEqual(pasts.last, .known)
        XCTAssertEqual(activities.last, .closed)
    }

    func test_who_reads_slowly_gets_the_newest_status() async throws {
        let (storage, directory) = try await opened()
        defer { withExtendedLifetime(directory) {} }
        var reader = storage.statuses().makeAsyncIterator()
        let first = await reader.next()
        XCTAssertEqual(first?.channels, 0)
        try await storage.declareNew()
        for count in 1...10 {
            try storage.reportWallet(report: report(channels: count))
        }
        var seen: [UInt32] = []
        while seen.last != 10, let status = await reader.next() { seen.append(status.channels) }
        XCTAssertEqual(seen.last, 10)
        XCTAssertEqual(seen, seen.sorted())
        _ = try await storage.shutdown(budgetMs: 1000)
    }

    func test_an_event_is_told_until_it_was_dealt_with() async throws {
        let (storage, directory) = try await opened()
        try await storage.declareNew()
        // More than fit into the smallest backup: told as events.
        try storage.reportWallet(report: report(channels: 40))
        var first: EventRecord?
        for try await event in storage.events() {
            first = event
            break
        }
        var again: [EventRecord] = []
        for try await event in storage.events() {
            again.append(event)
            break
        }
        XCTAssertNotNil(first)
        XCTAssertEqual(again, [first], "the loop was left in its body")

        var iterator = storage.events().makeAsyncIterator()
        let second = try await iterator.next()
        XCTAssertEqual(second, first)
        // Asking for the next one is what counts, whether there is one or not.
        let asking = Task { [iterator] in
            var iterator = iterator
            return try await iterator.next()
        }
        try await eventually("dealt with") { try await storage.nextEvent() != first }
        asking.cancel()
        _ = try await asking.value

        _ = try await storage.shutdown(budgetMs: 1000)
        let reopened = try await PeerStorage.open(in: directory.url, networkAvailable: false)
        let after = try await reopened.nextEvent()
        XCTAssertNotEqual(after?.id, first?.id)
        _ = try await reopened.shutdown(budgetMs: 1000)
    }

    func test_events_wait_over_a_suspension_and_end_with_the_storage() async throws {
        let (storage, directory) = try await opened()
        defer { withExtendedLifetime(directory) {} }
        try await storage.declareNew()
        _ = try await storage.onBackground(budgetMs: 2000)
        let told = Locked<[UInt64]>([])
        let reading = Task {
            for try await event in storage.events() {
                told.with { $0.append(event.id) }
            }
        }
        try storage.reportWallet(report: report(channels: 40))
        try await Task.sleep(nanoseconds: 50_000_000)
        XCTAssertEqual(told.now, [])
        storage.onForeground()
        try await eventually("told") { !told.now.isEmpty }
        _ = try await storage.shutdown(budgetMs: 1000)
        try await reading.value
        XCTAssertEqual(Set(told.now).count, told.now.count, "each once")
    }

    func test_a_reader_that_is_cancelled_ends_at_once_and_leaves_nothing_behind() async throws {
        let (storage, directory) = try await opened()
        defer { withExtendedLifetime(directory) {} }
        let threads = ThisProcess.threads
        var memory = 0
        for round in 0..<3000 {
            if round == 500 { memory = ThisProcess.memory }
            let statuses = Task { for await _ in storage.statuses() {} }
            let events = Task { for try await _ in storage.events() {} }
            if Bool.random() { await Task.yield() }
            statuses.cancel()
            events.cancel()
            await statuses.value
            try await events.value
        }
        // Both the library's pool and Swift's keep idle ones for a while. One for each reader would be thousands.
        XCTAssertLessThan(ThisProcess.threads, threads + 60)
        // In kB. Two subscriptions that were kept would be more than 2 kB a round.
        print("3000 readers, memory \(memory) kB before, \(ThisProcess.memory) kB after")
        XCTAssertLessThan(ThisProcess.memory - memory, 2500)
        _ = try await storage.shutdown(budgetMs: 1000)
    }

    func test_a_storage_that_is_only_read_from_can_go() async throws {
        let directory = try TemporaryDirectory()
        var storage: PeerStorage? = try await PeerStorage.open(in: directory.url, networkAvailable: false)
        weak var weakly = storage
        let statuses = try XCTUnwrap(storage).statuses()
        let reading = Task { for await _ in statuses {} }
        storage = nil
        try await eventually("gone") { weakly == nil }
        try await eventually("closed") { ThisProcess.openFiles(in: directory.url).isEmpty }
        reading.cancel()
        await reading.value
    }
}
