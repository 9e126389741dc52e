extension PeerStorage {
    /// Opens the data directory, also where the app is not visible: what is wrong with it shows now.
    ///
    /// Throws what `StorageOpening.open` throws.
    public static func open(config: OpenConfig, secret: WalletSecret) async throws -> PeerStorage {
        let opening = StorageOpening(config: config, secret: secret)
        try await opening.open()
        return try opening.take()
    }
}
