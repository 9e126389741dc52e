package org.peerstorage.android

import android.app.Application
import android.net.ConnectivityManager
import java.io.File
import kotlin.time.Duration
import kotlin.time.TimeSource
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.isActive
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.SharedFlow
import kotlinx.coroutines.flow.asSharedFlow
import kotlinx.coroutines.flow.filter
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import org.peerstorage.OpenConfig
import org.peerstorage.PassReport
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.ShutdownReport
import org.peerstorage.WalletSecret

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
    // Of jobs, whose end the system has to be told of, also after a shutdown. None runs longer than its budget.
    private val passScope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val activities = VisibleActivities()
    private val network =
        DefaultNetwork(
            application.getSystemService(ConnectivityManager::class.java),
            settings.validatedNetworksOnly,
        )
    // Whoever collects them slowly holds up nothing.
    private val _problems = MutableSharedFlow<Throwable>(replay = 1, onBufferOverflow = BufferOverflow.DROP_OLDEST)
    private val leaving = Leaving(scope, settings.leaving, _problems::emit)

    private val lock = Any()
    private var opening: Deferred<PeerStorage>? = null // under lock
    private var closed = false // under lock
    private var passes = 0 // under lock
    private var passWasGivenUp = false // under lock

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
    suspend fun storage(): PeerStorage {
        val opening = attempt()
        try {
            return opening.await()
        } catch (cancelled: CancellationException) {
            currentCoroutineContext().ensureActive()
            // Not the caller was cancelled, but the opening: by `shutdown`, or by what the app does in it.
            if (synchronized(lock) { closed }) throw PeerStorageException.Closed()
            throw IllegalStateException("what the app does at the opening was cancelled", cancelled)
        }
    }

    /**
     * A bounded pass in the background, whoever calls it: [PeerStorageJobService], a worker of the app's own,
     * or a push message that wakes it. Opens what it needs, and after it nothing runs unless the app is
     * visible.
     *
     * Cancel it when the system takes its time back: then what was begun for it ends at once.
     */
    suspend fun runBackgroundPass(budget: Duration = settings.passBudget): PassReport {
        synchronized(lock) { passes++ }
        try {
            val started = TimeSource.Monotonic.markNow()
            // Beside a node that is just being stopped nobody could be visited.
            leaving.isOver(budget / 2)
            network.refresh()
            val storage = storage()
            // Not only by the callback: a pass in a process that was just started begins before it.
            storage.onNetworkChanged(network.available.value)
            return storage.runBackgroundPass((budget - started.elapsedNow()).asBudget())
        } finally {
            passHasEnded(givenUp = !currentCoroutineContext().isActive)
        }
    }

    /**
     * Ends all, for a wallet that is deleted or changed while the process lives. Later calls fail as `Closed`;
     * a new [AndroidPeerStorage] may be made. Not needed at the end of a process.
     *
     * An opening that is not done within [budget] is given up, and the answer is null, as where none was begun. What
     * the library has opened by then it closes by itself, soon after.
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
            val started = TimeSource.Monotonic.markNow()
            val storage = withTimeoutOrNull(budget) {
                opened?.join()
                if (opened == null || opened.isCancelled) null else opened.await()
            }
            val report = storage?.shutdown((budget - started.elapsedNow()).asBudget())
            scope.cancel()
            // Not closed by hand: whoever still has it is told `Closed`, and not that it is no more.
            report
        }.await()
    }

    /** A pass for a job, not begun. [finished] is told whether it wants to be run again, unless it is cancelled. */
    internal fun preparePass(finished: (again: Boolean) -> Unit): Job = passScope.launch(start = CoroutineStart.LAZY) {
        val report = noted { runBackgroundPass() }
        finished(report.fold(::wantsAnother, ::mayPass))
    }

    /** Whatever still runs for a pass that nobody waits for ends when no other pass needs it. */
    private fun passHasEnded(givenUp: Boolean) {
        val opened = synchronized(lock) {
            passes--
            passWasGivenUp = passWasGivenUp || givenUp
            if (passes > 0 || !passWasGivenUp) return
            passWasGivenUp = false
            opening ?: return
        }
        scope.launch { noted { comeToRest(opened.await()) } }
    }

    private suspend fun comeToRest(storage: PeerStorage) {
        if (activities.visible.value) return
        storage.onBackground(0u)
        // It may have been taken in after the word that the app is back.
        if (activities.visible.value) storage.onForeground()
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
        return secret.use { open(directory, it) }
    }

    private suspend fun open(directory: File, secret: WalletSecret): PeerStorage {
        activities.assume(::isRankedAsShown)
        val visible = activities.visible.value
        val hostNodeRuns = settings.hostNodeRuns()
        val config = OpenConfig(
            dataDir = directory.path,
            network = settings.network,
            expectedNodeId = settings.expectedNodeId,
            // Out of sight it would come to rest at once, and `opened` needs it open. Without a network nobody is
            // visited meanwhile.
            inForeground = true,
            networkAvailable = visible && network.available.value,
            hostNodeRuns = hostNodeRuns,
            storage = settings.storage,
            torProxy = settings.torProxy,
            lingerMs = settings.linger.asBudget(),
        )
        val storage = PeerStorage.open(config, secret)
        try {
            // Whoever started or stopped it meanwhile had nobody to say it to.
            val hostNodeRunsNow = settings.hostNodeRuns()
            if (hostNodeRunsNow != hostNodeRuns) storage.onHostNodeChanged(hostNodeRunsNow)
            settings.opened(storage)
            if (!visible) {
                storage.onBackground(0u)
                storage.onNetworkChanged(network.available.value)
            }
        } catch (problem: Throwable) {
            // Nobody has it: it would stay open, with its lock, for as long as the process lives.
            withContext(NonCancellable) { storage.shutdown(0u) }
            throw problem
        }
        val facts = FactReporter(storage, settings.backgroundBudget, leaving) { report, appIsDone ->
            if (!appIsDone || leftUndone(report)) noted { jobs?.scheduleSoon() }
        }
        scope.launch { facts.reportNetwork(network.available) }
        scope.launch { facts.reportVisible(activities, visible, _problems::emit) }
        return storage
    }

    /** Nothing thrown here may end the app: neither by the library nor by what the app has given. */
    private suspend fun <T> noted(work: suspend () -> T): Result<T> =
        try {
            Result.success(work())
        } catch (problem: Exception) {
            currentCoroutineContext().ensureActive()
            // Whoever has shut it down knows.
            if (problem !is PeerStorageException.Closed) _problems.emit(problem)
            Result.failure(problem)
        }

    private suspend fun openWhenVisible() = activities.shown.filter { it > 0 }.collect {
        network.refresh()
        noted { storage() }
    }
}

/** In milliseconds, as the library takes a budget. */
private fun Duration.asBudget(): ULong = inWholeMilliseconds.coerceAtLeast(0).toULong()
