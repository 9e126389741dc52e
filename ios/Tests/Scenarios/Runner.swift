import Foundation
import PeerStorage
import PeerStorageTestSupport

/// One scenario: its world, its devices, and what it has kept.
@MainActor
final class Runner {
    let scenario: String
    let folder: TemporaryDirectory
    var start: JSON = .null
    var variables: [String: JSON] = [:]
    var devices: [String: Device] = [:]
    /// Answers what is asked of the world.
    var world: @MainActor (JSON) throws -> JSON
    var child: Child?

    private let ends: @MainActor () -> Void

    init(scenario: String) throws {
        let world = try World()
        self.scenario = scenario
        folder = try TemporaryDirectory()
        self.world = { try world.tell($0) }
        ends = { world.end() }
    }

    /// In a child process, without a world.
    init(child: Handover) throws {
        scenario = child.scenario
        folder = try TemporaryDirectory()
        world = child.answer
        start = child.start
        variables = child.variables
        devices = child.directories.mapValues { Device(directory: URL(fileURLWithPath: $0)) }
        ends = {}
    }

    func run(_ steps: [JSON], beginning: @MainActor (Int) -> Void = { _ in }) async throws {
        for (number, step) in steps.enumerated() {
            beginning(number)
            do {
                try await carryOut(step)
            } catch {
                throw Failure("step \(number), \(step.text): \(error)")
            }
        }
    }

    func end() async throws {
        try child?.kill()
        for device in devices.values { try await device.end() }
        ends()
    }

    func device(_ name: String) -> Device {
        if let device = devices[name] { return device }
        let device = Device(directory: folder.url.appendingPathComponent(name))
        devices[name] = device
        return device
    }
}

/// What a step may say beside the arguments of what it does.
private let aboutTheAnswer: Set = ["do", "on", "expect", "until", "between", "fails", "save", "note"]

extension Runner {
    private func carryOut(_ step: JSON) async throws {
        let step = try filledIn(step)
        if let until = step["until"] {
            try await repeats(step, until: until)
            return
        }
        if let expected = step["fails"] {
            try await fails(step, with: expected)
            return
        }
        try check(await answer(to: step), of: step)
    }

    private func check(_ answer: JSON, of step: JSON) throws {
        if let expected = step["expect"], !answer.has(expected) {
            throw Failure("answered \(answer.text)")
        }
        for (variable, key) in step["save"]?.object ?? [:] {
            guard let value = key.string.flatMap({ answer[$0] }) else { throw Failure("nothing to save in \(answer.text)") }
            variables[variable] = value
        }
    }

    private func repeats(_ step: JSON, until: JSON) async throws {
        let end = Date(timeIntervalSinceNow: 300)
        while true {
            let answer = try await answer(to: step)
            if answer.has(until) { return try check(answer, of: step) }
            if Date() > end { throw Failure("still answered \(answer.text)") }
            if let between = step["between"] { try await carryOut(between) }
            try await Task.sleep(nanoseconds: 50_000_000)
        }
    }

    private func fails(_ step: JSON, with expected: JSON) async throws {
        let answered: JSON
        do {
            answered = try await answer(to: step)
        } catch let error as PeerStorageError {
            guard described(error).has(expected) else { throw Failure("failed with \(described(error).text)") }
            return
        }
        throw Failure("did not fail, but answered \(answered.text)")
    }

    private func answer(to step: JSON) async throws -> JSON {
        guard let name = step["do"]?.string else { throw Failure("says nothing to do") }
        let on = device(step["on"]?.string ?? "phone")
        let given = (step.object ?? [:]).filter { !aboutTheAnswer.contains($0.key) }
        if name.hasPrefix("world.") {
            return try tellWorld(String(name.dropFirst("world.".count)), given)
        }
        let arguments = Arguments(given)
        let answer = try await sdk(name, arguments, on: on)
        if let unknown = arguments.unused.first { throw Failure("unknown: \(unknown)") }
        return answer
    }

    private func tellWorld(_ command: String, _ given: [String: JSON]) throws -> JSON {
        var arguments = given
        arguments["do"] = .string(command)
        if command == "start" { arguments["name"] = .string(scenario) }
        let answer = try world(.object(arguments))
        if command == "start" { start = answer }
        return answer
    }

    /// `"$name"` stands for what was kept under this name. Not in a child's steps: it does that itself.
    private func filledIn(_ value: JSON) throws -> JSON {
        switch value {
        case .string(let text) where text.hasPrefix("$"):
            guard let kept = variables[String(text.dropFirst())] else { throw Failure("nothing was kept as \(text)") }
            return kept
        case .list(let list): return .list(try list.map(filledIn))
        case .object(let object):
            return .object(try object.reduce(into: [:]) { filled, entry in
                filled[entry.key] = entry.key == "steps" ? entry.value : try filledIn(entry.value)
            })
        default: return value
        }
    }
}

/// The arguments of a step. Each has to be asked for.
final class Arguments {
    private let given: [String: JSON]
    private(set) var unused: Set<String>

    init(_ given: [String: JSON]) {
        self.given = given
        unused = Set(given.keys)
    }

    func optional(_ name: String) -> JSON? {
        unused.remove(name)
        return given[name]
    }

    func bool(_ name: String, _ otherwise: Bool) -> Bool { optional(name)?.bool ?? otherwise }
    func number(_ name: String, _ otherwise: UInt64) -> UInt64 { optional(name)?.number ?? otherwise }
    var budget: UInt64 { number("budget_ms", 20000) }

    func text(_ name: String) throws -> String {
        guard let text = optional(name)?.string else { throw Failure("\(name) is missing") }
        return text
    }

    func texts(_ name: String) throws -> [String] {
        guard let list = optional(name)?.list else { throw Failure("\(name) is missing") }
        return list.compactMap(\.string)
    }
}
