package org.peerstorage.android

import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.Past
import org.peerstorage.PeerStorage
import org.peerstorage.StorageListener
import org.peerstorage.StorageStatus
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.open

/** A listener is the app's, and does what it likes. */
class ListenersTest {
    @TempDir
    lateinit var directory: File

    private fun test(body: suspend (PeerStorage) -> Unit) = runBlocking {
        withTimeout(60.seconds) {
            val storage = open(directory)
            body(storage)
            storage.shutdown(5000u)
            storage.close()
        }
    }

    private fun listener(onStatus: (StorageStatus) -> Unit) = object : StorageListener {
        override fun onStatus(status: StorageStatus) = onStatus(status)

        override fun onEventsWaiting() = Unit
    }

    @Test
    fun one_that_throws_is_told_the_next_time_too() = test { storage ->
        val told = LinkedBlockingQueue<StorageStatus>()
        val subscription = storage.subscribe(listener {
            told.add(it)
            error("the app's own trouble")
        })
        assertNotNull(told.poll(10, SECONDS))
        storage.declareNew()
        assertNotNull(told.poll(10, SECONDS))
        subscription.cancel()
    }

    @Test
    fun one_that_runs_out_of_memory_ends_nothing() = test { storage ->
        val told = LinkedBlockingQueue<StorageStatus>()
        val subscription = storage.subscribe(listener {
            told.add(it)
            throw OutOfMemoryError("so it says")
        })
        assertNotNull(told.poll(10, SECONDS))
        storage.declareNew()
        assertNotNull(told.poll(10, SECONDS))
        subscription.cancel()
    }

    @Test
    fun one_that_blocks_holds_up_no_call() = test { storage ->
        val called = CountDownLatch(1)
        val over = CountDownLatch(1)
        val subscription = storage.subscribe(listener {
            called.countDown()
            over.await()
        })
        assertTrue(called.await(10, SECONDS))
        storage.declareNew()
        storage.onBackground(5000u)
        assertEquals(Activity.SUSPENDED, storage.status().activity)
        storage.onForeground()
        assertTrue(storage.shutdown(5000u).closed)
        over.countDown()
        subscription.cancel()
    }

    @Test
    fun one_may_call_everything_from_within() = test { storage ->
        val done = CountDownLatch(1)
        val subscription = storage.subscribe(listener {
            runBlocking {
                storage.status()
                storage.alarms()
                storage.nextEvent()
                storage.onForeground()
                storage.subscribe(listener {}).use { it.cancel() }
                storage.setAppData(byteArrayOf(1))
            }
            done.countDown()
        })
        assertTrue(done.await(20, SECONDS))
        subscription.cancel()
    }

    @Test
    fun one_may_end_its_own_subscription() = test { storage ->
        val told = LinkedBlockingQueue<StorageStatus>()
        lateinit var cancel: () -> Unit
        val ready = CountDownLatch(1)
        val subscription = storage.subscribe(listener {
            ready.await()
            told.add(it)
            cancel()
        })
        cancel = { subscription.cancel() }
        ready.countDown()
        assertNotNull(told.poll(10, SECONDS))
        storage.declareNew()
        // Another listener is told of it by the same thread, after the first would have been.
        storage.statuses().first { it.past == Past.KNOWN }
        assertEquals(0, told.size)
    }

    @Test
    fun one_may_shut_the_storage_down() = test { storage ->
        val done = CountDownLatch(1)
        val subscription = storage.subscribe(listener {
            runBlocking { storage.shutdown(5000u) }
            done.countDown()
        })
        assertTrue(done.await(20, SECONDS))
        assertEquals(Activity.CLOSED, storage.status().activity)
        subscription.cancel()
    }
}
