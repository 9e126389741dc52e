package org.peerstorage.android

import java.io.File
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.BackgroundReport
import org.peerstorage.Hindrance
import org.peerstorage.Obstacle
import org.peerstorage.PassReport
import org.peerstorage.PeerStorageException
import org.peerstorage.StorageFailure
import org.peerstorage.android.support.open

/** When a job is scheduled, and when it is run again. */
class RetryTest {
    @TempDir
    lateinit var directory: File

    private val status by lazy { runBlocking { open(directory).use { it.status().also { _ -> it.shutdown(1000u) } } } }

    @Test
    fun a_leave_wants_a_job_where_something_is_left_that_the_wallets_node_does_not_do() {
        assertFalse(leftUndone(left(drained = true)))
        assertTrue(leftUndone(left(drained = false)))
        val wanted = Obstacle.entries.filter { leftUndone(left(drained = false, obstacle = it)) }
        assertEquals(listOf(Obstacle.NO_NETWORK, Obstacle.PAYMENT_IN_FLIGHT, Obstacle.BUSY), wanted)
    }

    private fun left(drained: Boolean, obstacle: Obstacle? = null) =
        BackgroundReport(drained, suspended = true, visibleAgain = false, obstacle, status)

    @Test
    fun a_pass_wants_another_where_it_was_not_done_and_what_hindered_it_passes_by_itself() {
        assertFalse(wantsAnother(passed(drained = true)))
        assertTrue(wantsAnother(passed(drained = false)))
        val lasting = Hindrance.entries.filterNot { wantsAnother(passed(drained = false, hindrance = it)) }
        assertEquals(
            listOf(
                Hindrance.SUSPENDED, Hindrance.CLOSED, Hindrance.HOST_NODE_RUNS, Hindrance.WRONG_WALLET,
                Hindrance.NEWER_VERSION, Hindrance.DAMAGED, Hindrance.FAILED,
            ),
            lasting,
        )
    }

    private fun passed(drained: Boolean, hindrance: Hindrance? = null) =
        PassReport(visits = null, hindrance, drained, suspended = true, status)

    @Test
    fun what_does_not_pass_by_itself_is_not_tried_again() {
        val passing = listOf(
            PeerStorageException.Locked("it is locked"),
            PeerStorageException.NotNow(Obstacle.BUSY),
            PeerStorageException.InUse(),
            PeerStorageException.Storage(StorageFailure.NO_SPACE, "it is full"),
        )
        assertTrue(passing.all(::mayPass))
        val lasting = listOf(
            PeerStorageException.Closed(),
            PeerStorageException.WrongWallet(),
            PeerStorageException.Corrupt("it is damaged"),
            IllegalStateException("the app's own trouble"),
        )
        assertTrue(lasting.none(::mayPass))
    }
}
