package org.peerstorage.android

import java.io.File
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.android.support.Deaf
import org.peerstorage.android.support.ThisProcess
import org.peerstorage.android.support.open
import org.peerstorage.android.support.until

class EnduranceTest {
    @TempDir
    lateinit var directory: File

    @Test
    fun opening_and_shutting_down_a_thousand_times_or_for_twenty_seconds_takes_no_more_than_a_few_times() = runBlocking {
        repeat(WARM_UP) { cycle() }
        val before = Taken.now()
        val openBefore = ThisProcess.openByKind(directory)
        val started = TimeSource.Monotonic.markNow()
        var cycles = 0
        while (cycles < CYCLES && started.elapsedNow() < 20.seconds) {
            cycle()
            cycles++
        }
        // Threads without work end after two seconds.
        until("as few threads run as before") { Taken.now().threads <= before.threads }
        val after = Taken.now()
        println("endurance: $cycles cycles in ${started.elapsedNow()}: $before, then $after")
        assertTrue(cycles >= FEWEST, "$cycles cycles are too few to tell")
        assertEquals(emptyMap<String, Int>(), ThisProcess.moreOpenThan(openBefore, directory))
        assertTrue(after.kilobytes - before.kilobytes < MOST_GROWTH, "memory: $before, then $after")
    }

    private suspend fun cycle() {
        val storage = open(directory)
        val subscription = storage.subscribe(Deaf)
        storage.shutdown(5000u)
        subscription.close()
        storage.close()
    }

    private data class Taken(val threads: Int, val kilobytes: Long) {
        companion object {
            fun now(): Taken {
                System.gc()
                return Taken(ThisProcess.nativeThreads().size, ThisProcess.residentKilobytes())
            }
        }
    }

    private companion object {
        const val WARM_UP = 500
        const val CYCLES = 1000
        const val FEWEST = 200

        // The heap has its whole size from the start (pom.xml), so it does not count. 10 kB a cycle would.
        const val MOST_GROWTH = 10_000
    }
}
