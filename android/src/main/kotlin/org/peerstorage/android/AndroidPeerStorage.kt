package org.peerstorage.android

import android.app.Application
import android.net.ConnectivityManager
import java.io.File
import kotlin.time.Duration
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.SharedFlow
import kotlinx.coroutines.flow.asSharedFlow
import kotlinx.coroutines.flow.filter
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.peerstorage.OpenConfig
import org.peerstorage.PassReport
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.ShutdownReport

/**
 * The storage of one wallet in an Android app: opens it, and tells it of the app's life and of the network.
 *
 * Make one in `Application.onCreate`, and keep it as long as the process: see [PeerStorageOwner]. It costs no
 * I/O there; the database is opened when an activity starts, when a job runs, or when the app asks for it.
 *
 * Where it is made later, such as for a wallet that the person has just made, give [isShown]: what activities were
 * started before nobody can tell it. An app that forgets this is believed to be shown if Android says so at the opening.
 *
 * All members may be used from any thread.
 */
class AndroidPeerStorage(
    private val application: Application,
    private val settings: PeerStorageSettings,
    /** What is scheduled when a leave leaves something undone; null: nothing. */
    private val jobs: PeerStorageJobs? = PeerStorageJobs(application),
    /** An activity of the app is on the screen now. */
    isShown: Boolean = false,
) {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val activities = VisibleActivities()
    private val network =
        DefaultNetwork(
            application.getSystemService(ConnectivityManager::class.java),
            settings.validatedNetworksOnly,
        )
    private val _problems = MutableSharedFlow<Throwable>(replay = 1)

    private val lock = Any()
    private var opening: Deferred<PeerStorage>? = null // under lock
    private var closed = false // under lock

    init {
        application.registerActivityLifecycleCallbacks(activities)
        if (isShown) activities.assume()
        network.watch()
        scope.launch { openWhenVisible() }
    }

    /** What went wrong where no caller could be told, such as an opening at the start of the app. The last one stays. */
    val problems: SharedFlow<Throwable> = _problems.asSharedFlow()

    /**
     * The storage, opened if it is not yet. An opening that fails is tried anew by the next caller, and when
     * the app becomes visible again.
     *
     * @throws PeerStorageException what is wrong; `Locked` while [PeerStorageSettings.secret] gives none.
     */
    suspend fun storage(): PeerStorage = attempt().await()

    /**
     * A bounded pass in the background, whoever calls it: [PeerStorageJobService], a worker of the app's own,
     * or a push message that wakes it. Opens what it needs, and after it nothing runs unless the app is
     * visible.
     */
    suspend fun runBackgroundPass(budget: Duration = settings.passBudget): PassReport {
        network.refresh()
        val storage = storage()
        // Not only by the callback: a pass in a process that was just started begins before it.
        storage.onNetworkChanged(network.available.value)
        return storage.runBackgroundPass(budget.inWholeMilliseconds.toULong())
    }

    /**
     * Ends all, for a wallet that is deleted or changed while the process lives. Later calls fail as `Closed`;
     * a new [AndroidPeerStorage] may be made. Not needed at the end of a process.
     */
    suspend fun shutdown(budget: Duration = settings.backgroundBudget): ShutdownReport? {
        application.unregisterActivityLifecycleCallbacks(activities)
        network.stopWatching()
        val opened = synchronized(lock) {
            closed = true
            opening
        }
        // Its own coroutine: whoever gives up waiting must not leave half of it undone.
        return CoroutineScope(Dispatchers.Default).async {
            val storage = opened?.let { runCatching { it.await() }.getOrNull() }
            val report = storage?.shutdown(budget.inWholeMilliseconds.toULong())
            scope.cancel()
            // Not closed by hand: whoever still has it is told `Closed`, and not that it is no more.
            report
        }.await()
    }

    /** A pass for a job, not begun. [finished] is told whether it wants to be run again. */
    internal fun preparePass(finished: (again: Boolean) -> Unit): Job = scope.launch(start = CoroutineStart.LAZY) {
        val report = noted { runBackgroundPass() }
        finished(report.fold(::wantsAnother, ::mayPass))
    }

    /** The system takes a job's time back: whatever still runs for it ends at once. */
    internal fun endPass() {
        val opened = synchronized(lock) { opening } ?: return
        scope.launch {
            noted { if (!activities.visible.value) opened.await().onBackground(0u) }
        }
    }

    private fun attempt(): Deferred<PeerStorage> = synchronized(lock) {
        if (closed) {
            throw PeerStorageException.Closed()
        }
        val last = opening
        if (last != null && !last.isCancelled) { // one that failed counts as cancelled
            return last
        }
        // In a scope of its own: a caller that is cancelled must not lose what the others wait for.
        scope.async { open() }.also { opening = it }
    }

    private suspend fun open(): PeerStorage {
        val directory = withContext(Dispatchers.IO) { File(application.noBackupFilesDir, settings.directory) }
        val secret = settings.secret() ?: throw PeerStorageException.Locked("the app gives no secret at present")
        activities.assume(::isRankedAsShown)
        val visible = activities.visible.value
        val hostNodeRuns = settings.hostNodeRuns()
        val config = OpenConfig(
            dataDir = directory.path,
            network = settings.network,
            expectedNodeId = settings.expectedNodeId,
            inForeground = visible,
            networkAvailable = network.available.value,
            hostNodeRuns = hostNodeRuns,
            storage = settings.storage,
            torProxy = settings.torProxy,
            lingerMs = settings.linger.inWholeMilliseconds.toULong(),
        )
        val storage = secret.use { PeerStorage.open(config, it) }
        try {
            // Whoever started or stopped it meanwhile had nobody to say it to.
            val hostNodeRunsNow = settings.hostNodeRuns()
            if (hostNodeRunsNow != hostNodeRuns) storage.onHostNodeChanged(hostNodeRunsNow)
            settings.opened(storage)
        } catch (problem: Throwable) {
            // Nobody has it: it would stay open, with its lock, for as long as the process lives.
            withContext(NonCancellable) { storage.shutdown(0u) }
            throw problem
        }
        val facts = FactReporter(storage, settings.backgroundBudget, settings.leaving) { report ->
            if (leftUndone(report)) noted { jobs?.scheduleSoon() }
        }
        scope.launch { facts.reportNetwork(network.available) }
        scope.launch { facts.reportVisible(activities.visible, visible, _problems::emit) }
        return storage
    }

    /** Nothing thrown here may end the app: neither by the library nor by what the app has given. */
    private suspend fun <T> noted(work: suspend () -> T): Result<T> =
        try {
            Result.success(work())
        } catch (problem: Exception) {
            currentCoroutineContext().ensureActive()
            _problems.emit(problem)
            Result.failure(problem)
        }

    private suspend fun openWhenVisible() = activities.shown.filter { it > 0 }.collect {
        network.refresh()
        noted { storage() }
    }
}
