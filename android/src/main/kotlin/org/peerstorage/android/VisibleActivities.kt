package org.peerstorage.android

import android.app.Activity
import android.app.Application.ActivityLifecycleCallbacks
import android.os.Bundle
import java.util.Collections
import java.util.IdentityHashMap
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow

/**
 * Whether the app is on the screen: between the start of its first activity and the stop of its last.
 *
 * A rotation stops an activity and starts its successor within one message of the main thread. It is no
 * leave. Two activities overlap: the new one starts before the old one stops.
 *
 * The activities themselves are remembered, and not only their number: whoever registers late sees stops of
 * activities whose start it has missed. One of these may still be shown: see [assume].
 *
 * Android calls back on the main thread; the rest may come from any.
 */
internal class VisibleActivities : ActivityLifecycleCallbacks {
    private val lock = Any()
    private val started = Collections.newSetFromMap(IdentityHashMap<Activity, Boolean>()) // under lock
    private var heard = false // under lock
    private val _visible = MutableStateFlow(false)
    private val _shown = MutableStateFlow(0)

    /** True while the app is on the screen. */
    val visible: StateFlow<Boolean> = _visible.asStateFlow()

    /** How often it has come there: who looks at [visible] alone may miss a short leave. */
    val shown: StateFlow<Int> = _shown.asStateFlow()

    /**
     * An activity is shown whose start was missed, if [isSo]: so it stays until Android tells of the end of one. Once
     * Android has called back, that is better known, and this does nothing.
     */
    fun assume(isSo: () -> Boolean = { true }) {
        if (synchronized(lock) { heard } || !isSo()) return
        synchronized(lock) { if (!heard) isVisible() }
    }

    override fun onActivityStarted(activity: Activity) = here(activity)

    // Of one that was there before, this may be the first to be heard.
    override fun onActivityResumed(activity: Activity) = here(activity)

    override fun onActivityStopped(activity: Activity) = gone(activity)

    // A process that is short of memory may be told of the end of an activity alone.
    override fun onActivityDestroyed(activity: Activity) = gone(activity)

    private fun here(activity: Activity) = synchronized(lock) {
        heard = true
        started.add(activity)
        isVisible()
    }

    private fun isVisible() {
        if (!_visible.value) {
            _visible.value = true
            _shown.value++
        }
    }

    private fun gone(activity: Activity) = synchronized(lock) {
        heard = true
        started.remove(activity)
        if (started.isEmpty() && !activity.isChangingConfigurations) {
            _visible.value = false
        }
    }

    override fun onActivityCreated(activity: Activity, savedInstanceState: Bundle?) = Unit

    override fun onActivityPaused(activity: Activity) = Unit

    override fun onActivitySaveInstanceState(activity: Activity, outState: Bundle) = Unit
}
