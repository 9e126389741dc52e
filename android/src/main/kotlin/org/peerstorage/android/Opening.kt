package org.peerstorage.android

import org.peerstorage.OpenConfig
import org.peerstorage.PeerStorage
import org.peerstorage.StorageOpening
import org.peerstorage.WalletSecret

/**
 * Opens the data directory, also where the app is not visible: what is wrong with it shows now. A caller that is
 * cancelled meanwhile leaves nothing open.
 *
 * Throws what [StorageOpening.open] throws.
 */
suspend fun PeerStorage.Companion.open(config: OpenConfig, secret: WalletSecret): PeerStorage =
    // Closed in any case: what it has opened and nobody has taken is closed with it.
    StorageOpening(config, secret).use { opening ->
        opening.open()
        opening.take()
    }
