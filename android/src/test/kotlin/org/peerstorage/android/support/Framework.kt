package org.peerstorage.android.support

import android.compat.Compatibility
import libcore.io.Os
import org.mockito.Mockito.mock

/**
 * Android's own classes on the JVM. They are the real ones, so that what the library calls exists as it calls
 * it, and what calls the library does so as on a phone. Only what is native underneath is missing.
 */
object Framework {
    init {
        // NetworkRequest asks for its own user id.
        Os.compareAndSetDefault(Os.getDefault(), mock(Os::class.java))
        // JobInfo asks which changes of which Android version are on: all.
        Compatibility.setBehaviorChangeDelegate(object : Compatibility.BehaviorChangeDelegate {
            override fun isChangeEnabled(change: Long) = true

            override fun onChangeReported(change: Long) = Unit
        })
    }

    /** Call it before anything of Android's is touched. */
    fun load() = Unit
}
