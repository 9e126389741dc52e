import Foundation
import PeerStorageTestSupport

#if canImport(Glibc)
import Glibc
#endif

/// What a child process needs to go on with a scenario.
struct Handover: Codable {
    let scenario: String
    let steps: [JSON]
    let start: JSON
    let variables: [String: JSON]
    let directories: [String: String]
    /// What the world has answered to `channels` and `tip`.
    let channels: JSON
    let tip: JSON

    func answer(_ command: JSON) throws -> JSON {
        switch command["do"] {
        case "channels": return channels
        case "tip": return tip
        default: throw Failure("a child has no world")
        }
    }
}

/// Some of a scenario's steps in a process of their own, so that it can be killed as iOS kills an app.
@MainActor
final class Child {
    private let process = Process()
    private let input = Pipe()
    private let output = Lines()

    /// Returns when the last step has begun.
    init(_ runner: Runner, steps: [JSON]) throws {
        let device = runner.device("phone")
        guard device.opened == nil else { throw Failure("open here, so a child cannot open it") }
        let handover = Handover(
            scenario: runner.scenario,
            steps: steps,
            start: runner.start,
            variables: runner.variables,
            directories: runner.devices.mapValues { $0.directory.path },
            channels: try runner.world(["do": "channels"]),
            tip: try runner.world(["do": "tip"])
        )
        let file = runner.folder.url.appendingPathComponent("child-\(UUID().uuidString).json")
        try JSONEncoder().encode(handover).write(to: file)

        process.executableURL = ownProgram
        process.arguments = ["--child", file.path]
        process.standardInput = input
        process.standardOutput = output.pipe
        try process.run()
        try waitFor("begin \(steps.count - 1)")
    }

    private func waitFor(_ line: String) throws {
        var said: [String] = []
        while let next = output.next() {
            if next == line { return }
            said.append(next)
        }
        throw Failure("the child has ended: \(said.joined(separator: "; "))")
    }

    /// As iOS does it: in the midst of whatever it does.
    func kill() throws {
        guard process.isRunning else { throw Failure("the child had ended by itself") }
        _ = Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// In the child itself.
    static func run(_ file: String) async throws {
        let handover = try JSONDecoder().decode(Handover.self, from: Data(contentsOf: URL(fileURLWithPath: file)))
        let runner = try Runner(child: handover)
        try await runner.run(handover.steps) { number in
            FileHandle.standardOutput.write(Data("begin \(number)\n".utf8))
        }
        _ = FileHandle.standardInput.readDataToEndOfFile()
    }
}
