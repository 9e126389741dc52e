package org.peerstorage.android

import java.io.File
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.FfiConverterTypeStorageListener
import org.peerstorage.Past
import org.peerstorage.PeerStorage
import org.peerstorage.StorageEvent
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.makeAnEvent
import org.peerstorage.android.support.open
import org.peerstorage.android.support.until

class FlowsTest {
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

    @Test
    fun a_status_is_told_at_once_and_after_each_change() = test { storage ->
        assertEquals(Past.UNKNOWN, storage.statuses().first().past)
        coroutineScope {
            val known = async { storage.statuses().first { it.past == Past.KNOWN } }
            storage.declareNew()
            known.await()
        }
    }

    @Test
    fun the_statuses_end_with_the_storage() = test { storage ->
        coroutineScope {
            val all = async { storage.statuses().map { it.activity }.toList() }
            storage.isNow(Activity.ACTIVE)
            storage.shutdown(5000u)
            assertEquals(Activity.CLOSED, all.await().last())
            assertEquals(listOf(Activity.CLOSED), storage.statuses().map { it.activity }.toList())
            assertEquals(0, storage.events().toList().size)
        }
    }

    @Test
    fun an_event_whose_block_throws_is_told_again_and_one_whose_block_returns_is_not() = test { storage ->
        storage.makeAnEvent()
        var told: ULong? = null
        class Broken : Exception()
        assertThrows(Broken::class.java) {
            runBlocking {
                storage.events().collect {
                    told = it.id
                    throw Broken()
                }
            }
        }
        assertEquals(told, storage.nextEvent()?.id)
        // The first one is dealt with when the second is asked for.
        coroutineScope {
            val handled = launch { storage.events().collect { assertEquals(told, it.id) } }
            until("it is dealt with") { storage.nextEvent() == null }
            handled.cancel()
        }
    }

    @Test
    fun an_event_that_comes_later_is_told() = test { storage ->
        coroutineScope {
            val event = async { storage.events().take(1).first().event }
            storage.isNow(Activity.ACTIVE)
            storage.makeAnEvent()
            assertEquals(true, event.await() is StorageEvent.PartsOmitted)
        }
    }

    @Test
    fun events_wait_out_a_suspension() = test { storage ->
        coroutineScope {
            storage.onBackground(5000u)
            storage.isNow(Activity.SUSPENDED)
            val event = async { storage.events().first().event }
            storage.onForeground()
            storage.isNow(Activity.ACTIVE)
            storage.makeAnEvent()
            assertEquals(true, event.await() is StorageEvent.PartsOmitted)
        }
    }

    @Test
    fun the_events_end_with_the_storage() = test { storage ->
        coroutineScope {
            val all = async { storage.events().toList() }
            storage.isNow(Activity.ACTIVE)
            storage.shutdown(5000u)
            assertEquals(0, all.await().size)
        }
    }

    @Test
    fun a_collector_that_ends_leaves_no_listener_behind() = test { storage ->
        val before = FfiConverterTypeStorageListener.handleMap.size
        repeat(20) {
            storage.statuses().first()
            coroutineScope { launch(start = CoroutineStart.UNDISPATCHED) { storage.events().collect {} }.cancel() }
        }
        // A listener is let go of by the library once the call that is under way has ended.
        until("no listener is known") { FfiConverterTypeStorageListener.handleMap.size <= before }
    }
}
