package org.peerstorage.android

import kotlin.time.Duration
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import org.peerstorage.PeerStorage

/**
 * What the app does when it is left ([PeerStorageSettings.leaving]) has taken more than its time, which was [atMost]. It
 * goes on; the storage was told of the leave without it, and a job is scheduled.
 */
class LeavingTakesLong internal constructor(val atMost: Duration) :
    Exception("what the app does when it is left takes longer than $atMost, and goes on")

/**
 * The app's own part of a leave. It is not cut where it takes too long: a node that is being stopped cannot be left
 * half stopped, and what it says at its end is still true then.
 */
internal class Leaving(
    private val scope: CoroutineScope,
    private val work: suspend (PeerStorage) -> Unit,
    private val failed: suspend (Exception) -> Unit,
) {
    @Volatile
    private var last: Job? = null

    /** True: it has done its work within [atMost]. It may block. */
    suspend fun begin(storage: PeerStorage, atMost: Duration): Boolean {
        var done = false
        last = scope.launch(Dispatchers.IO) {
            try {
                work(storage)
                done = true
            } catch (problem: Exception) {
                currentCoroutineContext().ensureActive()
                failed(problem)
            }
        }
        if (!isOver(atMost)) failed(LeavingTakesLong(atMost))
        return done
    }

    /** Waits for the end of the last one, if there is one. */
    suspend fun isOver(atMost: Duration): Boolean =
        withTimeoutOrNull(atMost) {
            last?.join()
            true
        } ?: false
}
