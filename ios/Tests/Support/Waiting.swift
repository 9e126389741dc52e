import Foundation

/// It did not come true in time.
public struct NeverHappened: Error, CustomStringConvertible {
    public let description: String

    public init(description: String) {
        self.description = description
    }
}

/// Waits until something is so.
@MainActor
public func eventually(
    _ what: String,
    within seconds: TimeInterval = 20,
    _ condition: @MainActor () async throws -> Bool
) async throws {
    let end = Date(timeIntervalSinceNow: seconds)
    while try await !condition() {
        if Date() > end { throw NeverHappened(description: "not within \(seconds) s: \(what)") }
        try await Task.sleep(nanoseconds: 5_000_000)
    }
}

/// Something that several threads look at.
public final class Locked<Value>: @unchecked Sendable { // `value` is under the lock.
    private let lock = NSLock()
    private var value: Value

    public init(_ value: Value) {
        self.value = value
    }

    @discardableResult
    public func with<Result>(_ work: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try work(&value) }
    }

    public var now: Value { lock.withLock { value } }
}
