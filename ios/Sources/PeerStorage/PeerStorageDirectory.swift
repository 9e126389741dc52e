import Foundation

/// Where a storage's files belong on a device of Apple's.
public enum PeerStorageDirectory {
    /// Makes sure of a directory below Application Support that is left out of backups, and whose files can be
    /// read whenever the device has been unlocked once since it started. Called at each opening it also puts
    /// right what an older version of the app has left behind.
    ///
    /// * **Not backed up.** What a backup brings back is old, and on old channel state funds are lost. The
    ///   directory is excluded, not its files: SQLite makes those anew.
    /// * **`completeUntilFirstUserAuthentication`**, on the directory and so on all that is made in it. With
    ///   `complete` the database would become unreadable while the screen is locked, in the middle of a write.
    /// * **Not in an App Group container.** iOS kills an app that it suspends while it holds a lock there.
    public static func make(_ name: String = "peer-storage") throws -> URL {
        let files = FileManager.default
        let parent = try files.url(for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        var directory = parent.appendingPathComponent(name, isDirectory: true)
        try files.createDirectory(at: directory, withIntermediateDirectories: true)
        try protect(&directory)
        return directory
    }

    private static func protect(_ directory: inout URL) throws {
        // Only there do files have these properties.
        #if os(iOS)
        let attributes: [FileAttributeKey: Any] = [.protectionKey: FileProtectionType.completeUntilFirstUserAuthentication]
        try FileManager.default.setAttributes(attributes, ofItemAtPath: directory.path)
        #endif
        #if canImport(Darwin)
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        try directory.setResourceValues(values)
        #endif
    }
}
