import Foundation

extension PeerStorage {
    /// The health of the backup: as it is now, then after each change. Who reads slowly gets the newest, and misses
    /// what lies between. Ends when the storage is shut down. Any number may be read at once; one that is no
    /// longer read leaves nothing behind.
    public func statuses() -> AsyncStream<StorageStatus> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            follow(until: continuation) { status in
                guard let status else { return }
                continuation.yield(status)
                if status.activity == .closed { continuation.finish() }
            }
        }
    }

    /// The events that the app has not dealt with, oldest first, and each one to come. **An event counts as dealt with
    /// when the next one is asked for**: in a `for` loop, when the body has come to its end. One at which the loop
    /// was left, or the app ended, is told again, also after a restart.
    ///
    /// Read it in one place: of two readers each would get all. While the storage is suspended it waits. It ends
    /// when the storage is shut down or the task is cancelled, and throws where the storage fails.
    public func events() -> PeerStorageEvents {
        PeerStorageEvents(storage: self)
    }
}

/// See ``PeerStorage/events()``.
public struct PeerStorageEvents: AsyncSequence, Sendable {
    public typealias Element = EventRecord

    let storage: PeerStorage

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(storage: storage)
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        private let storage: PeerStorage
        private var bell: AsyncStream<Void>.Iterator
        private var told: UInt64?

        init(storage: PeerStorage) {
            self.storage = storage
            bell = storage.bell().makeAsyncIterator()
        }

        public mutating func next() async throws -> EventRecord? {
            while !Task.isCancelled {
                do {
                    if let event = try await takeNext() { return event }
                } catch PeerStorageError.Suspended {
                    // What was dealt with stays to be said.
                } catch PeerStorageError.Closed {
                    return nil
                }
                if await bell.next() == nil { return nil }
            }
            return nil
        }

        private mutating func takeNext() async throws -> EventRecord? {
            if let id = told {
                try await storage.eventHandled(id: id)
                told = nil
            }
            let event = try await storage.nextEvent()
            told = event?.id
            return event
        }
    }
}

extension PeerStorage {
    /// Rings for what is there already, and after each change.
    fileprivate func bell() -> AsyncStream<Void> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            follow(until: continuation) { _ in continuation.yield() }
        }
    }

    /// Subscribes for as long as somebody reads. `changed` gets nil where events have come.
    private func follow<Element>(
        until continuation: AsyncStream<Element>.Continuation,
        changed: @escaping @Sendable (StorageStatus?) -> Void
    ) {
        do {
            let subscription = try subscribe(listener: Listener(changed: changed))
            continuation.onTermination = { _ in subscription.cancel() }
        } catch {
            continuation.finish()
        }
    }
}

// Holds no storage: the library holds the listener.
private final class Listener: StorageListener {
    private let changed: @Sendable (StorageStatus?) -> Void

    init(changed: @escaping @Sendable (StorageStatus?) -> Void) {
        self.changed = changed
    }

    func onStatus(status: StorageStatus) { changed(status) }
    func onEventsWaiting() { changed(nil) }
}
