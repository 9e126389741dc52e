import Foundation
import PeerStorageTestSupport

/// Runs the scenarios of a folder, or one of them: `Scenarios FOLDER [NAME]`. What they mean says
/// tests/scenarios/README.md.
@main
struct Scenarios {
    /// They wait more than they compute.
    private static let atOnce = 6

    @MainActor
    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            switch (arguments.first, arguments.dropFirst().first) {
            case ("--child", let file?): try await Child.run(file)
            case (let folder?, let name?): try await runOne("\(folder)/\(name).json", name)
            case (let folder, _): try runAll(in: folder ?? "tests/scenarios")
            }
        } catch {
            print("\(error)")
            exit(1)
        }
    }

    @MainActor
    private static func runOne(_ file: String, _ name: String) async throws {
        let scenario = try JSON.read(Data(contentsOf: URL(fileURLWithPath: file)))
        let unknown = Set(scenario.object.map { Array($0.keys) } ?? []).subtracting(["name", "comment", "steps"])
        guard unknown.isEmpty, scenario["name"]?.string == name, let steps = scenario["steps"]?.list else {
            throw Failure("not a scenario")
        }
        let runner = try Runner(scenario: name)
        try await runner.run(steps)
        try await runner.end()
    }

    /// Each in a process of its own.
    private static func runAll(in folder: String) throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".json") }
            .map { String($0.dropLast(".json".count)) }
            .sorted()
        let failed = Locked(0)
        let queue = OperationQueue()
        queue.maxConcurrentOperationCount = atOnce
        for name in names {
            queue.addOperation {
                let (start, said) = (Date(), runInProcess(folder, name))
                let time = String(format: "%.1f s", Date().timeIntervalSince(start))
                failed.with { failed in
                    if said != nil { failed += 1 }
                    print("\(name): \(said.map { "FAILED: \($0)" } ?? "ok"), \(time)")
                }
            }
        }
        queue.waitUntilAllOperationsAreFinished()
        guard failed.now == 0, !names.isEmpty else {
            throw Failure("scenarios: \(failed.now) of \(names.count) failed")
        }
        print("scenarios: ok, \(names.count)")
    }

    /// What it says where it fails.
    private static func runInProcess(_ folder: String, _ name: String) -> String? {
        let process = Process()
        let output = Lines()
        process.executableURL = ownProgram
        process.arguments = [folder, name]
        process.standardOutput = output.pipe
        var said: [String] = []
        do {
            try process.run()
        } catch {
            return "\(error)"
        }
        while let line = output.next() { said.append(line) }
        process.waitUntilExit()
        return process.terminationStatus == 0 ? nil : said.joined(separator: "\n")
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
