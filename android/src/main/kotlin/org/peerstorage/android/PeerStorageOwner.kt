package org.peerstorage.android

/**
 * Implemented by the app's `Application`: so [PeerStorageJobService] finds the storage in a process that was
 * started for the job alone.
 */
interface PeerStorageOwner {
    /** Set in `Application.onCreate`. Null: there is no wallet (yet). */
    val peerStorage: AndroidPeerStorage?
}
