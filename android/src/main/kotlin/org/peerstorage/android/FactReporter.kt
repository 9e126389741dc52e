package org.peerstorage.android

import kotlin.time.Duration
import kotlin.time.TimeSource
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import org.peerstorage.BackgroundReport
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException

/**
 * Tells an open storage what is true, in order. What changes back before it was told is not told.
 *
 * What has to be ordered is the leave: `onBackground` returns only when all is drained, and meanwhile the app
 * may come back.
 */
internal class FactReporter(
    private val storage: PeerStorage,
    private val budget: Duration,
    private val leaving: Leaving,
    private val wasLeft: suspend (report: BackgroundReport, appIsDone: Boolean) -> Unit,
) {
    suspend fun reportNetwork(available: StateFlow<Boolean>): Nothing = available.collect(storage::onNetworkChanged)

    private var believed = false // what the storage takes to be the case; the coroutine's own

    /** [told]: what the storage was opened with. Ends when the storage is closed. */
    suspend fun reportVisible(
        activities: VisibleActivities,
        told: Boolean,
        failed: suspend (Exception) -> Unit,
    ) {
        believed = told
        while (true) {
            activities.visible.first { it != believed }
            try {
                if (believed) leave(activities, failed) else comeBack()
            } catch (_: PeerStorageException.Closed) {
                return
            }
        }
    }

    private fun comeBack() {
        believed = true
        storage.onForeground()
    }

    private suspend fun leave(activities: VisibleActivities, failed: suspend (Exception) -> Unit) {
        val started = TimeSource.Monotonic.markNow()
        val shown = activities.shown.value
        val appIsDone = leaving.begin(storage, budget / 2) // if not, the storage is told all the same
        // Who was back meanwhile may have started what `leaving` had stopped, and is left anew.
        val wasBack = { activities.shown.value != shown }
        if (activities.visible.value || wasBack()) return
        val left = (budget - started.elapsedNow()).coerceAtLeast(Duration.ZERO)
        tellOfLeave(activities.visible, left).onSuccess { wasLeft(it, appIsDone) }.onFailure { problem ->
            when (problem) {
                is PeerStorageException.Closed -> throw problem
                // It had no turn, and so was not told. It is said again: it has waited for its whole budget.
                is PeerStorageException.NotNow -> believed = true
                is PeerStorageException -> failed(problem)
            }
        }
        // Left again at once, it was not seen there: what is true is said in order.
        if (!believed && wasBack()) comeBack()
    }

    private suspend fun tellOfLeave(visible: StateFlow<Boolean>, budget: Duration): Result<BackgroundReport> =
        coroutineScope {
            var cameBack = false
            val back = launch(start = CoroutineStart.UNDISPATCHED) {
                visible.first { it }
                cameBack = true
                storage.onForeground()
            }
            val report = try {
                Result.success(storage.onBackground(budget.inWholeMilliseconds.toULong()))
            } catch (problem: PeerStorageException) {
                Result.failure(problem)
            }
            // It may be in the midst of saying so. Whoever leaves again meanwhile has to be told of, too.
            back.cancelAndJoin()
            believed = cameBack
            // A leave is taken in on a thread of the library's: it may have been after the word that the app is
            // back. Said twice, that is the last word.
            if (cameBack) storage.onForeground()
            report
        }
}
