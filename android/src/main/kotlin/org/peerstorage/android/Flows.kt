package org.peerstorage.android

import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.catch
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.transform
import kotlinx.coroutines.flow.transformWhile
import org.peerstorage.Activity
import org.peerstorage.EventRecord
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.StorageListener
import org.peerstorage.StorageStatus

/**
 * The health of the backup: as it is now, then after every change. A slow collector gets the newest, and
 * misses what lies between. A collector that ends leaves nothing behind. Ends with [PeerStorage.shutdown].
 */
fun PeerStorage.statuses(): Flow<StorageStatus> =
    callbackFlow {
        val subscription = subscribe(object : StorageListener {
            override fun onStatus(status: StorageStatus) {
                trySend(status)
            }

            override fun onEventsWaiting() = Unit
        })
        awaitClose { subscription.use { it.cancel() } }
    }.conflate().catch {
        if (it is PeerStorageException.Closed) emit(status()) else throw it
    }.transformWhile {
        emit(it)
        it.activity != Activity.CLOSED
    }

/**
 * The events that the app has not dealt with, oldest first, and every one to come. An event counts as dealt
 * with once the collector's block has returned for it; one whose block throws or is cancelled is told again,
 * also after a restart.
 *
 * So: no operator that buffers between this and `collect` (`buffer`, `conflate`, `flowOn`, `shareIn`, ...), or
 * events count as dealt with that were only put aside. And one collector: two would each get all.
 *
 * A suspended storage has no events to read. They come once it is open again. Ends with
 * [PeerStorage.shutdown].
 */
fun PeerStorage.events(): Flow<EventRecord> =
    bell().transform {
        while (true) {
            val event = nextEventIfOpen() ?: break
            emit(event)
            if (!handledIfOpen(event.id)) break
        }
    }.catch { if (it !is PeerStorageException.Closed) throw it }

// Rings at once, for what waits already, and then for what comes. Only then is anything read: a read inside
// of the listener would hold up the library's own thread.
private fun PeerStorage.bell(): Flow<Unit> =
    callbackFlow {
        trySend(Unit)
        val subscription = subscribe(object : StorageListener {
            override fun onStatus(status: StorageStatus) {
                trySend(Unit)
            }

            override fun onEventsWaiting() {
                trySend(Unit)
            }
        })
        awaitClose { subscription.use { it.cancel() } }
    }.conflate()

private suspend fun PeerStorage.nextEventIfOpen(): EventRecord? =
    try {
        nextEvent()
    } catch (_: PeerStorageException.Suspended) {
        null
    }

// False: it was not, and will be told again.
private suspend fun PeerStorage.handledIfOpen(id: ULong): Boolean =
    try {
        eventHandled(id)
        true
    } catch (_: PeerStorageException.Suspended) {
        false
    }
