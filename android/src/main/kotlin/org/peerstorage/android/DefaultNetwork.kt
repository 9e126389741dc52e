package org.peerstorage.android

import android.net.ConnectivityManager
import android.net.ConnectivityManager.NetworkCallback
import android.net.Network
import android.net.NetworkCapabilities
import android.net.NetworkCapabilities.NET_CAPABILITY_INTERNET
import android.net.NetworkCapabilities.NET_CAPABILITY_VALIDATED
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow

/**
 * Whether the device's default network leads to the internet.
 *
 * `onAvailable` alone does not say so: a captive portal is available too. The capabilities that follow it do, and
 * then, from Android 10 on, whether this app may use it: doze, data saver and battery saver block it for some.
 * Needs the permission `ACCESS_NETWORK_STATE`; an app without it counts as always connected, and the
 * visits of peers find out by themselves.
 */
internal class DefaultNetwork(
    private val connectivity: ConnectivityManager?,
    private val validatedOnly: Boolean,
) : NetworkCallback() {
    private val _available = MutableStateFlow(connectivity == null)
    private val lock = Any()
    private var leadsOut = false // under lock
    private var blocked = false // under lock

    /** True while there is such a network. */
    val available: StateFlow<Boolean> = _available.asStateFlow()

    /** Begins to watch. The callbacks come on a thread of the system's. */
    fun watch() {
        if (!refresh()) return
        try {
            connectivity?.registerDefaultNetworkCallback(this)
        } catch (_: RuntimeException) {
            // Android 11 refuses some apps that may ask, and every version those that ask too often.
            _available.value = true
        }
    }

    fun stopWatching() {
        try {
            connectivity?.unregisterNetworkCallback(this)
        } catch (_: IllegalArgumentException) {
            // It was never registered.
        }
    }

    /** Asks anew: the callbacks of a process that was frozen come late. False: the app may not ask. */
    fun refresh(): Boolean {
        connectivity ?: return false
        return try {
            // None where it is blocked.
            val capabilities = connectivity.activeNetwork?.let(connectivity::getNetworkCapabilities)
            tell(leadsOut = capabilities != null && leadsOut(capabilities), blocked = false)
            true
        } catch (_: SecurityException) {
            _available.value = true
            false
        }
    }

    override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) =
        tell(leadsOut = leadsOut(capabilities))

    override fun onBlockedStatusChanged(network: Network, blocked: Boolean) = tell(blocked = blocked)

    override fun onLost(network: Network) = tell(leadsOut = false, blocked = false)

    private fun tell(leadsOut: Boolean? = null, blocked: Boolean? = null) = synchronized(lock) {
        leadsOut?.let { this.leadsOut = it }
        blocked?.let { this.blocked = it }
        _available.value = this.leadsOut && !this.blocked
    }

    private fun leadsOut(capabilities: NetworkCapabilities): Boolean =
        capabilities.hasCapability(NET_CAPABILITY_INTERNET) &&
            (!validatedOnly || capabilities.hasCapability(NET_CAPABILITY_VALIDATED))
}
