package org.peerstorage.android

import android.net.ConnectivityManager
import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.peerstorage.android.support.Phone

class DefaultNetworkTest {
    private fun watched(phone: Phone, validatedOnly: Boolean = true) =
        DefaultNetwork(phone.application.getSystemService(ConnectivityManager::class.java), validatedOnly)
            .apply { watch() }

    @Test
    fun a_network_counts_once_the_internet_was_found_behind_it() {
        val phone = Phone(File("/nonexistent"), connected = false)
        val network = watched(phone)
        assertEquals(false, network.available.value)
        phone.network(Phone.CAPTIVE_PORTAL)
        assertEquals(false, network.available.value)
        phone.network(Phone.VALIDATED)
        assertEquals(true, network.available.value)
        phone.network(null)
        assertEquals(false, network.available.value)
    }

    @Test
    fun where_android_cannot_check_any_network_counts() {
        val phone = Phone(File("/nonexistent"), connected = false)
        val network = watched(phone, validatedOnly = false)
        phone.network(Phone.CAPTIVE_PORTAL)
        assertEquals(true, network.available.value)
    }

    @Test
    fun what_is_there_already_counts_before_any_callback() {
        assertEquals(true, watched(Phone(File("/nonexistent"))).available.value)
    }

    @Test
    fun a_network_that_is_blocked_for_the_app_counts_as_none() {
        val phone = Phone(File("/nonexistent"))
        val network = watched(phone)
        phone.blockNetwork(true)
        assertEquals(false, network.available.value)
        // Another one comes up, and is blocked as well.
        phone.network(Phone.VALIDATED)
        assertEquals(false, network.available.value)
        assertEquals(false, watched(phone).available.value)
        phone.blockNetwork(false)
        assertEquals(true, network.available.value)
        // What blocked a network that is lost does not stay.
        phone.blockNetwork(true)
        phone.network(null)
        phone.blockNetwork(false)
        phone.network(Phone.VALIDATED)
        assertEquals(true, network.available.value)
    }

    @Test
    fun an_app_that_may_not_ask_counts_as_connected() {
        val network = watched(Phone(File("/nonexistent"), mayAskForNetworks = false))
        assertEquals(true, network.available.value)
        network.stopWatching()
    }

    @Test
    fun nothing_is_left_registered() {
        val phone = Phone(File("/nonexistent"))
        val network = watched(phone)
        assertEquals(1, phone.networkListeners)
        network.stopWatching()
        assertEquals(0, phone.networkListeners)
    }
}
