package org.peerstorage.android.support

import android.app.ActivityManager
import android.app.ActivityManager.RunningAppProcessInfo
import android.app.IActivityManager
import android.compat.Compatibility
import android.util.Singleton
import libcore.io.Os
import org.mockito.ArgumentMatchers.any
import org.mockito.Mockito.doAnswer
import org.mockito.Mockito.mock

/**
 * Android's own classes on the JVM. They are the real ones, so that what the library calls exists as it calls
 * it, and what calls the library does so as on a phone. Only what is native underneath is missing.
 */
object Framework {
    /** How Android ranks this process, and why. */
    @Volatile
    var importance = RunningAppProcessInfo.IMPORTANCE_CACHED

    @Volatile
    var importanceReason = RunningAppProcessInfo.REASON_UNKNOWN

    init {
        // NetworkRequest asks for its own user id.
        Os.compareAndSetDefault(Os.getDefault(), mock(Os::class.java))
        // JobInfo asks which changes of which Android version are on: all.
        Compatibility.setBehaviorChangeDelegate(object : Compatibility.BehaviorChangeDelegate {
            override fun isChangeEnabled(change: Long) = true

            override fun onChangeReported(change: Long) = Unit
        })
        // What the system server knows of this process.
        val server = mock(IActivityManager::class.java)
        doAnswer {
            val info = it.getArgument<RunningAppProcessInfo>(0)
            info.importance = importance
            info.importanceReasonCode = importanceReason
        }.`when`(server).getMyMemoryState(any())
        val singleton = ActivityManager::class.java.getDeclaredField("IActivityManagerSingleton")
            .apply { isAccessible = true }
            .get(null)
        Singleton::class.java.getDeclaredField("mInstance").apply { isAccessible = true }.set(singleton, server)
    }

    /** Call it before anything of Android's is touched. A process that has just been started is in background. */
    fun load() {
        importance = RunningAppProcessInfo.IMPORTANCE_CACHED
        importanceReason = RunningAppProcessInfo.REASON_UNKNOWN
    }
}
