import BackgroundTasks
import Foundation
import PeerStorage
import PeerStorageTestSupport
import UIKit
import XCTest

#if canImport(Glibc)
import Glibc
#endif

/// A process of an app that iOS has started, as its `didFinishLaunching` leaves it.
@MainActor
final class Phone {
    let app = UIApplication.shared
    let begunBefore = UIApplication.shared.begun
    let submittedBefore = BGTaskScheduler.shared.submissions
    let opened = Locked<[PeerStorage]>([])
    let failures = Locked<[any Error]>([])
    var wallet: IOSPeerStorage?

    private let temporary: TemporaryDirectory
    var directory: URL { temporary.url.appendingPathComponent("peer-storage") }

    init(startsIn state: UIApplication.State = .inactive, with change: (inout PeerStorageSettings) -> Void = { _ in }) throws {
        temporary = try TemporaryDirectory()
        app.starts(in: state)
        app.whenEnded = nil
        let (opened, failures) = (opened, failures)
        var settings = PeerStorageSettings(network: .regtest) { try anySecret() }
        settings.directory = directory
        settings.linger = 0
        settings.failed = { error in failures.with { $0.append(error) } }
        change(&settings)
        let last = settings.opened
        settings.opened = { storage in
            try await last(storage)
            opened.with { $0.append(storage) }
        }
        XCTAssertTrue(Self.isRegistered)
        wallet = IOSPeerStorage(settings)
    }

    /// Once in the process, as at its launch.
    private static let isRegistered = IOSPeerStorage.registerBackgroundRefresh(identifier: refresh)
    static let refresh = "org.example.refresh"

    var openFiles: [String] { ThisProcess.openFiles(in: directory) }

    var hasDirectory: Bool { FileManager.default.fileExists(atPath: directory.path) }

    var activity: Activity? {
        get throws { try opened.now.last?.status().activity }
    }

    func becomesActive() async throws {
        app.comesToForeground()
        try await eventually("active") { try activity == .active && app.backgroundTasks == 0 }
    }

    func launchesRefresh() -> BGAppRefreshTask {
        BGTaskScheduler.shared.launch(Self.refresh)
    }

    /// How many refreshes it has asked for.
    var submitted: Int { BGTaskScheduler.shared.submissions - submittedBefore }

    var refreshIsScheduled: Bool { BGTaskScheduler.shared.pending.contains(Self.refresh) }

    /// How many files were open at each end of background time from now on.
    func filesOpenAtTheEnd() -> Locked<[Int]> {
        let counts = Locked<[Int]>([])
        let directory = directory
        app.whenEnded = { counts.with { $0.append(ThisProcess.openFiles(in: directory).count) } }
        return counts
    }

    /// Lets everything run that was begun.
    func settles() async throws {
        for _ in 0..<20 {
            try await Task.sleep(nanoseconds: 5_000_000)
        }
    }
}

/// As files are before the first unlock: there, and nobody may open them.
@MainActor
func withUnreadable(_ directory: URL, _ work: @MainActor () async throws -> Void) async throws {
    // Who is root may read everything.
    let root = geteuid() == 0
    XCTAssertEqual(chmod(directory.path, 0), 0)
    if root { XCTAssertEqual(seteuid(65534), 0) }
    defer {
        if root { XCTAssertEqual(seteuid(0), 0) }
        XCTAssertEqual(chmod(directory.path, 0o700), 0)
    }
    try await work()
}
