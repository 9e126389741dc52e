import Foundation
#if canImport(Glibc)
import Glibc
#endif

/// The process that a scenario runs against: chain, peers, and the wallet's own node. See tests/world/README.md.
public final class World: @unchecked Sendable { // Used by one task at a time.
    private let process = Process()
    private let commands = Pipe()
    private let answers = Lines()

    public struct Refused: Error, CustomStringConvertible {
        public let description: String
    }

    /// The program that `cargo xtask swift` has built.
    public init(program: String = builtProgram("peer-storage-world")) throws {
        process.executableURL = URL(fileURLWithPath: program)
        process.standardInput = commands
        process.standardOutput = answers.pipe
        try process.runHearingSignals()
    }

    deinit {
        end()
    }

    /// Carries out one command, and returns what it answers.
    public func tell(_ command: JSON) throws -> JSON {
        try commands.fileHandleForWriting.write(contentsOf: JSONEncoder().encode(command) + Data("\n".utf8))
        guard let line = answers.next() else { throw Refused(description: "the world has ended") }
        let answer = try JSON.read(Data(line.utf8))
        guard answer["ok"] == true else {
            throw Refused(description: "\(command.text): \(answer["error"]?.string ?? "no answer")")
        }
        return answer
    }

    /// It ends with its standard input.
    public func end() {
        try? commands.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}

extension Process {
    /// Threads of a pool block all signals, and a child takes that over: what is said to it and to its own children
    /// by a signal, such as SIGTERM, would never be heard.
    fileprivate func runHearingSignals() throws {
        var none = sigset_t()
        var before = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try run()
    }
}

/// Where cargo has put a program that is tested with.
public func builtProgram(_ name: String) -> String {
    let folder = ProcessInfo.processInfo.environment["PEER_STORAGE_LIBRARY_DIR"] ?? "."
    return "\(folder)/\(name)"
}

/// This program, to start it again.
public let ownProgram = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()

/// The lines that another process says.
public final class Lines: @unchecked Sendable { // Read by one thread at a time.
    public let pipe = Pipe()
    private var unread = Data()

    public init() {}

    /// The next one; nil: there is no other.
    public func next() -> String? {
        while true {
            if let newline = unread.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: unread[..<newline], as: UTF8.self)
                unread = Data(unread[unread.index(after: newline)...])
                return line
            }
            let more = pipe.fileHandleForReading.availableData
            if more.isEmpty { return nil }
            unread += more
        }
    }
}
