package org.peerstorage.android

import com.sun.jna.Memory
import java.io.File
import java.nio.charset.CharacterCodingException
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.BitcoinNetwork
import org.peerstorage.ChainAccess
import org.peerstorage.ChainOutput
import org.peerstorage.ChainSource
import org.peerstorage.ChainTip
import org.peerstorage.ChainTransaction
import org.peerstorage.ChannelIds
import org.peerstorage.FfiConverterRustBuffer
import org.peerstorage.FfiConverterString
import org.peerstorage.FfiConverterTypeActivity
import org.peerstorage.FfiConverterTypeChannelClaim
import org.peerstorage.FfiConverterTypeHindrance
import org.peerstorage.FfiConverterTypeNodeStart
import org.peerstorage.FfiConverterTypePeerStorageError
import org.peerstorage.FfiConverterTypeStorageEvent
import org.peerstorage.FfiConverterTypeStorageListener
import org.peerstorage.GuestPolicy
import org.peerstorage.OpenConfig
import org.peerstorage.Past
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.RecoverySettings
import org.peerstorage.RustBuffer
import org.peerstorage.StorageSettings
import org.peerstorage.UniffiLib
import org.peerstorage.UniffiRustCallStatus
import org.peerstorage.WalletPeer
import org.peerstorage.WalletReport
import org.peerstorage.WalletSecret
import org.peerstorage.android.support.Deaf
import org.peerstorage.android.support.NOBODY
import org.peerstorage.android.support.channel
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.open
import org.peerstorage.android.support.report
import org.peerstorage.android.support.secretOf
import org.peerstorage.android.support.until
import org.peerstorage.uniffiCallbackInterfaceStorageListener

/** Whatever crosses the border between Kotlin and the library: what is wrong is an error of that call, and no more. */
class BoundaryTest {
    @TempDir
    lateinit var directory: File

    private fun test(body: suspend (PeerStorage) -> Unit) = runBlocking {
        withTimeout(60.seconds) {
            val storage = open(directory)
            body(storage)
            // It goes on as if nothing had been.
            storage.declareNewIfNeeded()
            storage.isNow(Activity.ACTIVE)
            storage.shutdown(5000u)
            storage.close()
        }
    }

    private suspend fun PeerStorage.declareNewIfNeeded() {
        if (status().past == Past.UNKNOWN) declareNew()
        setAppData(byteArrayOf(1))
    }

    private fun field(call: suspend () -> Any?): String =
        assertThrows(PeerStorageException.InvalidInput::class.java) { runBlocking { call() } }.field

    @Test
    fun what_is_wrong_in_a_configuration_or_a_secret_is_named() {
        fun config(
            dataDir: String = directory.path,
            expectedNodeId: String? = null,
            storage: StorageSettings = StorageSettings(),
            torProxy: String? = null,
        ) = OpenConfig(dataDir, BitcoinNetwork.REGTEST, expectedNodeId, storage = storage, torProxy = torProxy)

        for ((expected, config) in listOf(
            "data_dir" to config(dataDir = ""),
            "data_dir" to config(dataDir = "a\u0000b"),
            "data_dir" to config(dataDir = "x".repeat(5000)),
            "expected_node_id" to config(expectedNodeId = "02zz"),
            "expected_node_id" to config(expectedNodeId = "\uD83D\uDE00".repeat(33)),
            "tor_proxy" to config(torProxy = "localhost"),
            "guest_bytes" to config(storage = StorageSettings(guestBytes = UInt.MAX_VALUE)),
            "guests" to config(storage = StorageSettings(guests = GuestPolicy.Listed(listOf("me")))),
        )) {
            assertEquals(expected, field { secretOf(7).use { PeerStorage.open(config, it) } })
        }
        assertEquals("bytes", field { WalletSecret.fromLdkSeed(ByteArray(31)) })
        assertEquals("bytes", field { WalletSecret.fromLdkNodeSeed(ByteArray(0)) })
        assertEquals("words", field { WalletSecret.fromLdkNodeMnemonic("abandon ".repeat(12), "") })
        assertEquals("words", field { WalletSecret.fromLdkNodeMnemonic("", "") })
    }

    @Test
    fun what_is_wrong_in_a_report_or_a_call_is_named_and_the_report_before_stays() = test { storage ->
        storage.reportWallet(report(channel(1)))
        val peer = { address: String -> WalletReport(emptyList(), listOf(WalletPeer(NOBODY, listOf(address)))) }
        for ((expected, report) in listOf(
            "channel_id" to report(channel(1).copy(channelId = "00")),
            "counterparty_node_id" to report(channel(1, peer = "05".repeat(33))),
            "funding_outpoint" to report(channel(1).copy(fundingOutpoint = "00".repeat(32))),
            "channel_keys_id" to report(channel(1).copy(channelKeysId = "0g")),
            "channels" to report(*Array(10_001) { channel(1) }),
            "peers" to peer(""),
            "peers" to peer("127.0.0.1:99999"),
            "peers" to peer("x".repeat(400) + ":9735"),
            "spendable_outputs" to WalletReport(emptyList(), emptyList(), spendableOutputs = listOf(byteArrayOf(1, 2, 3))),
            "keep_backups_at" to WalletReport(emptyList(), emptyList(), keepBackupsAt = listOf("somebody")),
        )) {
            assertEquals(expected, field { storage.reportWallet(report) })
        }
        assertEquals("channel", field { storage.channelSwept(ChannelIds()) })
        assertEquals("data", field { storage.setAppData(ByteArray(70_000)) })
        val stranger = listOf(WalletPeer("x", emptyList()))
        assertEquals("peers", field { storage.restore(stranger, 0u) })
        assertEquals("peers", field { storage.syncWithPeers(stranger, false, ULong.MAX_VALUE) })
        // Half of a pair of characters is no text.
        assertThrows(CharacterCodingException::class.java) { storage.reportWallet(report(channel(1).copy(channelId = "\uD800"))) }
        storage.adopt()
        until("the report before is in the backup") { storage.status().channels == 1u }
    }

    @Test
    fun numbers_at_their_limits_are_taken_for_what_they_mean() = test { storage ->
        storage.reportTip(UInt.MAX_VALUE)
        assertTrue(storage.onBackground(ULong.MAX_VALUE).suspended)
        storage.onForeground()
        storage.checkBeforeNodeStart(ULong.MAX_VALUE)
        storage.onHostNodeChanged(false)
        storage.eventHandled(ULong.MAX_VALUE)
    }

    // A value that this side does not know: of a library that is newer than its bindings.
    @Test
    fun a_value_that_is_not_known_is_an_exception_of_that_call() {
        for (converter in listOf<FfiConverterRustBuffer<*>>(
            FfiConverterTypeActivity, FfiConverterTypeHindrance, FfiConverterTypeNodeStart, FfiConverterTypeChannelClaim,
            FfiConverterTypeStorageEvent, FfiConverterTypePeerStorageError,
        )) {
            for (ordinal in listOf(0, 99, -1, Int.MAX_VALUE, Int.MIN_VALUE)) {
                val thrown = assertThrows(RuntimeException::class.java) { converter.lift(unknown(ordinal)) }
                assertTrue("enum value" in "${thrown.message}", "$converter: $thrown")
            }
        }
    }

    @Test
    fun a_listener_that_cannot_read_what_it_is_told_says_so_to_the_library() {
        val handle = FfiConverterTypeStorageListener.lower(Deaf)
        val status = UniffiRustCallStatus()
        uniffiCallbackInterfaceStorageListener.onStatus.callback(handle, unknown(99), Memory(8), status)
        assertEquals(UNEXPECTED, status.code)
        FfiConverterTypeStorageListener.handleMap.remove(handle)
    }

    @Test
    fun what_the_library_cannot_read_is_an_error_of_that_call() = test { storage ->
        val said = storage.reportRaw(unknown(-1))
        assertTrue("report" in said, said)
    }

    @Test
    fun a_panic_in_the_library_is_an_error_of_that_call() = test { storage ->
        // Something of length one that lies nowhere: the library's own assertion against it panics.
        repeat(3) {
            val nowhere = RustBuffer.ByValue().apply {
                capacity = 1
                len = 1
            }
            val said = storage.reportRaw(nowhere)
            assertTrue("RustBuffer" in said, said)
        }
    }

    @Test
    fun a_chain_source_that_throws_whatever_it_likes_ends_nothing() = test { storage ->
        val asked = AtomicInteger()
        for (trouble in listOf(IllegalStateException("the app's own"), OutOfMemoryError("so it says"), StackOverflowError())) {
            val source = Broken {
                asked.incrementAndGet()
                throw trouble
            }
            storage.startRecovery(ChainAccess.Host(source), RecoverySettings(), null).use { recovery ->
                try {
                    recovery.plan(emptyList(), 0u)
                } catch (_: PeerStorageException.Chain) {
                    // Or the plan names it as its trouble.
                }
            }
        }
        assertTrue(asked.get() >= 3, "it was asked")
    }

    private class Broken(private val breaks: () -> Nothing) : ChainSource {
        override fun tip(): ChainTip = breaks()

        override fun headerAt(height: UInt): ByteArray? = breaks()

        override fun transaction(txid: String): ChainTransaction? = breaks()

        override fun txidAt(height: UInt, index: UInt): String? = breaks()

        override fun spendOf(outpoint: String): ChainTransaction? = breaks()

        override fun outputsTo(script: ByteArray): List<ChainOutput> = breaks()

        override fun feeRate(blocks: UShort): ULong? = breaks()

        override fun broadcast(transaction: ByteArray): Unit = breaks()
    }

    /** An enum's value with this number, as the library writes it. */
    private fun unknown(ordinal: Int): RustBuffer.ByValue =
        FfiConverterTypeActivity.lower(Activity.ACTIVE).also { it.data!!.setInt(0, Integer.reverseBytes(ordinal)) }

    /** What the library says to bytes that no binding would write. The bindings throw it as an `InternalException`. */
    private fun PeerStorage.reportRaw(buffer: RustBuffer.ByValue): String = callWithHandle { handle ->
        val status = UniffiRustCallStatus()
        UniffiLib.uniffi_peer_storage_ffi_fn_method_peerstorage_report_wallet(handle, buffer, status)
        assertEquals(UNEXPECTED, status.code)
        FfiConverterString.lift(status.error_buf)
    }

    private companion object {
        /** UniFFI's number for an error that nobody has declared. */
        const val UNEXPECTED: Byte = 2
    }
}
