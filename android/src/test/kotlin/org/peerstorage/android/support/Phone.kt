package org.peerstorage.android.support

import android.app.Activity
import android.app.Application
import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.app.job.JobServiceEngine
import android.content.ComponentCallbacks2
import android.content.Context
import android.net.ConnectivityManager
import android.net.ConnectivityManager.NetworkCallback
import android.net.Network
import android.net.NetworkCapabilities
import android.net.NetworkCapabilities.NET_CAPABILITY_INTERNET
import android.net.NetworkCapabilities.NET_CAPABILITY_VALIDATED
import android.os.Bundle
import java.io.File
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.LinkedBlockingQueue
import org.mockito.ArgumentMatchers.any
import org.mockito.ArgumentMatchers.anyBoolean
import org.mockito.ArgumentMatchers.anyInt
import org.mockito.ArgumentMatchers.anyString
import org.mockito.Mockito.doAnswer
import org.mockito.Mockito.mock
import org.mockito.Mockito.`when`
import org.peerstorage.android.AndroidPeerStorage
import org.peerstorage.android.PeerStorageJobService
import org.peerstorage.android.PeerStorageOwner

/**
 * A phone with one process of the app. What the system would do, a test says: it starts and stops activities in
 * the order in which Android does, cuts the network, runs jobs. Between it and the library stand Android's real
 * `Application`, `JobService`, `JobInfo` and `NetworkCapabilities`; behind it nothing but the real library.
 *
 * The order of callbacks is that of Android's documents: "The activity lifecycle" (developer.android.com), and
 * for two activities its section "Coordinating activities".
 */
class Phone(private val directory: File, connected: Boolean = true, mayAskForNetworks: Boolean = true) {
    /** The app's `Application`. */
    val application: App
    val jobs = Jobs()
    private val callbacks = CopyOnWriteArrayList<NetworkCallback>()
    private var network: NetworkCapabilities? = if (connected) VALIDATED else null
    private var blocked = false

    init {
        Framework.load()
        val context = mock(Context::class.java)
        val connectivity = mock(ConnectivityManager::class.java)
        `when`(context.packageName).thenReturn("org.example.wallet")
        `when`(context.noBackupFilesDir).thenAnswer { directory.also(File::mkdirs) }
        `when`(context.getSystemServiceName(any())).thenAnswer { (it.arguments[0] as Class<*>).simpleName }
        `when`(context.getSystemService(anyString())).thenAnswer {
            when (it.arguments[0]) {
                "ConnectivityManager" -> connectivity
                "JobScheduler" -> jobs.scheduler
                else -> null
            }
        }
        if (mayAskForNetworks) {
            `when`(connectivity.activeNetwork).thenAnswer { NETWORK.takeIf { network != null && !blocked } }
            `when`(connectivity.getNetworkCapabilities(NETWORK)).thenAnswer { network }
            doAnswer { callbacks.add(it.getArgument(0)) }
                .`when`(connectivity).registerDefaultNetworkCallback(any())
            doAnswer { callbacks.remove(it.getArgument<NetworkCallback>(0)) }
                .`when`(connectivity).unregisterNetworkCallback(any<NetworkCallback>())
        } else {
            `when`(connectivity.activeNetwork).thenThrow(SecurityException("ACCESS_NETWORK_STATE"))
            `when`(connectivity.registerDefaultNetworkCallback(any()))
                .thenThrow(SecurityException("ACCESS_NETWORK_STATE"))
        }
        application = App(context)
    }

    // ---- the person --------------------------------------------------------------------------

    /** Opens an activity: from the launcher, or over the one that is shown. */
    fun open(): Activity = mock(Activity::class.java).also(::start)

    /** The activity that is shown goes behind something else: the launcher, another app, a share sheet. */
    fun leave(activity: Activity) {
        told("Paused", activity)
        told("Stopped", activity)
        application.onTrimMemory(ComponentCallbacks2.TRIM_MEMORY_UI_HIDDEN)
    }

    fun comeBack(activity: Activity) {
        told("Started", activity)
        told("Resumed", activity)
    }

    /** What was above it has gone, and it was not stopped. */
    fun resume(activity: Activity) = told("Resumed", activity)

    /** From one activity of the app to another: the new one starts before the old one stops. */
    fun goOn(from: Activity): Activity {
        told("Paused", from)
        val to = open()
        told("Stopped", from)
        return to
    }

    fun back(activity: Activity) {
        leave(activity)
        told("Destroyed", activity)
    }

    /** One message of the main thread, in which the activity is made anew. */
    fun rotate(activity: Activity): Activity {
        `when`(activity.isChangingConfigurations).thenReturn(true)
        told("Paused", activity)
        told("Stopped", activity)
        told("Destroyed", activity)
        return open()
    }

    private fun start(activity: Activity) {
        told("Created", activity, Bundle::class.java to null)
        told("Started", activity)
        told("Resumed", activity)
    }

    // ---- the system --------------------------------------------------------------------------

    /** A network that leads out, one that does not (a captive portal), or none. */
    fun network(capabilities: NetworkCapabilities?) {
        network = capabilities
        for (callback in callbacks) {
            if (capabilities == null) {
                callback.onLost(NETWORK)
            } else {
                callback.onAvailable(NETWORK)
                callback.onCapabilitiesChanged(NETWORK, capabilities)
                callback.onBlockedStatusChanged(NETWORK, blocked)
            }
        }
    }

    /** Doze, data saver or battery saver begins or ends: the network is there, and not for this app. */
    fun blockNetwork(blocked: Boolean) {
        this.blocked = blocked
        callbacks.forEach { it.onBlockedStatusChanged(NETWORK, blocked) }
    }

    fun lowMemory() {
        for (level in TRIM_LEVELS) {
            application.onTrimMemory(level)
        }
        application.onLowMemory()
    }

    /** Who listens to the network at present. */
    val networkListeners get() = callbacks.size

    /** The scheduler starts the service for a job. */
    fun runJob(id: Int): RunningJob = RunningJob(application, id)

    private fun told(what: String, activity: Activity, vararg more: Pair<Class<*>, Any?>) {
        val types = arrayOf(Activity::class.java, *more.map { it.first }.toTypedArray())
        val dispatch = Application::class.java.getDeclaredMethod("dispatchActivity$what", *types)
        dispatch.isAccessible = true
        dispatch.invoke(application, activity, *more.map { it.second }.toTypedArray())
    }

    /** The app's `Application`, and what its `onCreate` sets. */
    class App(base: Context) : Application(), PeerStorageOwner {
        init {
            attachBaseContext(base)
        }

        override var peerStorage: AndroidPeerStorage? = null
    }

    /** What is scheduled. */
    class Jobs {
        val pending = LinkedHashMap<Int, JobInfo>()
        val scheduler: JobScheduler = mock(JobScheduler::class.java)

        fun isPending(): Boolean = synchronized(pending) { pending.isNotEmpty() }

        init {
            `when`(scheduler.schedule(any())).thenAnswer {
                val job = it.getArgument<JobInfo>(0)
                // So Android 14 does.
                if (job.requiredNetwork != null && "android.permission.ACCESS_NETWORK_STATE" !in Manifest.permissions) {
                    throw SecurityException("android.permission.ACCESS_NETWORK_STATE required")
                }
                synchronized(pending) { pending[job.id] = job }
                JobScheduler.RESULT_SUCCESS
            }
            `when`(scheduler.getPendingJob(anyInt())).thenAnswer {
                synchronized(pending) { pending[it.getArgument<Int>(0)] }
            }
            doAnswer { synchronized(pending) { pending.remove(it.getArgument<Int>(0)) } }
                .`when`(scheduler).cancel(anyInt())
        }
    }

    /** The service of the library, bound as the system binds it. */
    class RunningJob(application: Application, private val id: Int) {
        private val service = PeerStorageJobService()
        private val parameters = mock(JobParameters::class.java)

        /** What `jobFinished` was told: whether the job wants to run again. */
        val finished = LinkedBlockingQueue<Boolean>()

        init {
            `when`(parameters.jobId).thenReturn(id)
            val engine = mock(JobServiceEngine::class.java)
            doAnswer { finished.add(it.getArgument(1)) }.`when`(engine).jobFinished(any(), anyBoolean())
            JobService::class.java.getDeclaredField("mEngine").apply { isAccessible = true }.set(service, engine)
            android.app.Service::class.java.getDeclaredField("mApplication")
                .apply { isAccessible = true }
                .set(service, application)
        }

        fun start(): Boolean = service.onStartJob(parameters)

        fun stop(): Boolean = service.onStopJob(parameters)
    }

    companion object {
        private val NETWORK: Network by lazy { mock(Network::class.java) }

        val VALIDATED: NetworkCapabilities by lazy { capabilities(NET_CAPABILITY_INTERNET, NET_CAPABILITY_VALIDATED) }
        val CAPTIVE_PORTAL: NetworkCapabilities by lazy { capabilities(NET_CAPABILITY_INTERNET) }

        private fun capabilities(vararg all: Int): NetworkCapabilities =
            NetworkCapabilities.Builder().apply { all.forEach(::addCapability) }.build()

        private val TRIM_LEVELS = listOf(
            ComponentCallbacks2.TRIM_MEMORY_RUNNING_MODERATE,
            ComponentCallbacks2.TRIM_MEMORY_RUNNING_LOW,
            ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL,
            ComponentCallbacks2.TRIM_MEMORY_BACKGROUND,
            ComponentCallbacks2.TRIM_MEMORY_MODERATE,
            ComponentCallbacks2.TRIM_MEMORY_COMPLETE,
        )
    }
}
