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
 * `onAvailable` alone does not say so: a captive portal is available too. The capabilities that follow it do.
 * Needs the permission `ACCESS_NETWORK_STATE`; an app without it counts as always connected, and the
 * visits of peers find out by themselves.
 */
internal class DefaultNetwork(
    private val connectivity: ConnectivityManager?,
    private val validatedOnly: Boolean,
) : NetworkCallback() {
    private val _available = MutableStateFlow(connectivity == null)

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
            val capabilities = connectivity.activeNetwork?.let(connectivity::getNetworkCapabilities)
            _available.value = capabilities != null && leadsOut(capabilities)
            true
        } catch (_: SecurityException) {
            _available.value = true
            false
        }
    }

    override fun onCapabilitiesChanged(network: Network, capabilities: NetworkCapabilities) {
        _available.value = leadsOut(capabilities)
    }

    override fun onLost(network: Network) {
        _available.value = false
    }

    private fun leadsOut(capabilities: NetworkCapabilities): Boolean =
        capabilities.hasCapability(NET_CAPABILITY_INTERNET) &&
            (!validatedOnly || capabilities.hasCapability(NET_CAPABILITY_VALIDATED))
}
