import Foundation

/// What the system says of this process: what is open and what runs, not what the library says of itself.
public enum ThisProcess {
    /// The open files at or below this directory.
    public static func openFiles(in directory: URL) -> [String] {
        // As the kernel names it: without links.
        let path = directory.resolvingSymlinksInPath().path
        return entries(of: "/proc/self/fd")
            .compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
            .filter { $0 == path || $0.hasPrefix(path + "/") }
    }

    public static var sockets: Int {
        entries(of: "/proc/self/fd")
            .compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)") }
            .filter { $0.hasPrefix("socket:") }
            .count
    }

    public static var fileDescriptors: Int { entries(of: "/proc/self/fd").count }

    public static var threads: Int { entries(of: "/proc/self/task").count }

    /// The names of the threads, as the system has them: 15 letters at most.
    public static var threadNames: [String] {
        entries(of: "/proc/self/task")
            .compactMap { try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8) }
            .map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
            .sorted()
    }

    /// How often threads whose names begin so have gone to sleep, by thread: one that sleeps on adds nothing.
    public static func wakes(ofThreads prefix: String) -> [String: Int] {
        entries(of: "/proc/self/task").reduce(into: [:]) { wakes, thread in
            let status = (try? String(contentsOfFile: "/proc/self/task/\(thread)/status", encoding: .utf8)) ?? ""
            let lines = status.split(separator: "\n")
            guard lines.first?.hasPrefix("Name:\t\(prefix)") == true else { return }
            let line = lines.first { $0.hasPrefix("voluntary_ctxt_switches:") }
            wakes[thread] = line?.split(separator: "\t").last.flatMap { Int($0) }
        }
    }

    /// What is in memory, in kB.
    public static var memory: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return line?.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }

    private static func entries(of directory: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    }
}
