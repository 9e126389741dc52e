package org.peerstorage.android.support

import org.peerstorage.StorageListener
import org.peerstorage.StorageStatus

/** A listener that does nothing. */
object Deaf : StorageListener {
    override fun onStatus(status: StorageStatus) = Unit

    override fun onEventsWaiting() = Unit
}
