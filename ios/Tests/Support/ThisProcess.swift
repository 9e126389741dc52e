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
