package org.peerstorage.docs

// The code of docs/android.md, which a test compares with this. Each part stands between its name in brackets
// and [end].

import android.app.Application
import android.content.Context
import androidx.work.CoroutineWorker
import androidx.work.ListenableWorker.Result
import androidx.work.WorkerParameters
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.lightningdevkit.ldknode.NodeInterface
import org.peerstorage.AlarmResolution
import org.peerstorage.BitcoinNetwork
import org.peerstorage.ChainAccess
import org.peerstorage.ChannelClaim
import org.peerstorage.KnownBy
import org.peerstorage.NodeStart
import org.peerstorage.Past
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.PlannedChannel
import org.peerstorage.RecoveryConsent
import org.peerstorage.RecoveryPlan
import org.peerstorage.RecoverySettings
import org.peerstorage.StorageAlarm
import org.peerstorage.StorageEvent
import org.peerstorage.StorageStatus
import org.peerstorage.WalletChannel
import org.peerstorage.WalletPeer
import org.peerstorage.WalletReport
import org.peerstorage.WalletSecret
import org.peerstorage.android.AndroidPeerStorage
import org.peerstorage.android.PeerStorageJobs
import org.peerstorage.android.PeerStorageOwner
import org.peerstorage.android.PeerStorageSettings
import org.peerstorage.android.events
import org.peerstorage.android.statuses

// What the app has already.

interface WalletNode {
    /** Built, perhaps started. */
    suspend fun node(): NodeInterface

    /** Also while it starts or stops. */
    val isRunning: Boolean

    suspend fun stopIfRunning()
}

interface Vault {
    /** Null before the first unlock. */
    fun words(): String?
}

interface ClosedChannels {
    fun all(): List<WalletChannel>
}

abstract class App : Application() {
    abstract val vault: Vault
    abstract val node: WalletNode
    abstract val closedChannels: ClosedChannels

    /** Written down before the first opening. */
    abstract val words: Words
    abstract val nodeId: String?

    abstract suspend fun show(alarms: List<StorageAlarm>)

    abstract suspend fun showRecovery(channels: UInt)
}

/** Where the wallet's words come from. */
enum class Words {
    /** This app has made them: there is no backup of the wallet anywhere. */
    MADE_HERE,

    /** The wallet has lived on this phone, with its channels, before it had this library. */
    LIVED_HERE,

    /** The person has typed them in: what the wallet had, only peers know. */
    TYPED_IN,
}

// [application]
abstract class WalletApp : App(), PeerStorageOwner {
    override val peerStorage by lazy { AndroidPeerStorage(this, settings()) }
    val nodeTurn = Mutex()                           // whoever starts or stops the node has it

    override fun onCreate() {
        super.onCreate()
        peerStorage                                  // watches the app's life from here on; opens nothing yet
        PeerStorageJobs(this).scheduleDaily()
    }

    private fun settings() = PeerStorageSettings(
        network = BitcoinNetwork.BITCOIN,
        expectedNodeId = nodeId,                     // as ldk-node tells it; null as long as it is not known
        secret = { vault.words()?.let { WalletSecret.fromLdkNodeMnemonic(it, "") } },
        hostNodeRuns = { node.isRunning },
        opened = { storage ->
            storage.reportWallet(walletOf(node.node(), closedChannels.all()))
            if (storage.status().past == Past.UNKNOWN) {
                when (words) {
                    Words.MADE_HERE -> storage.declareNew()
                    Words.LIVED_HERE -> storage.adopt()
                    Words.TYPED_IN -> Unit               // a restore decides: see 5
                }
            }
        },
        leaving = { storage ->
            nodeTurn.withLock {
                node.stopIfRunning()                     // may throw: then it is still taken to run
                storage.reportWallet(walletOf(node.node(), closedChannels.all()))
                storage.onHostNodeChanged(false)
            }
        },
    )
}
// [end]

// [wallet]
fun walletOf(node: NodeInterface, closed: List<WalletChannel>): WalletReport {
    val open = node.listChannels().map { channel ->
        WalletChannel(
            channelId = channel.channelId,
            counterpartyNodeId = channel.counterpartyNodeId,
            fundingOutpoint = channel.fundingTxo?.let { "${it.txid}:${it.vout}" },
            shortChannelId = channel.shortChannelId,
            confirmations = channel.confirmations,
            isReady = channel.isChannelReady,
            valueSat = channel.channelValueSats,
        )
    }
    return WalletReport(
        channels = open + closed.filter { it.channelId !in open.map(WalletChannel::channelId) },
        peers = node.listPeers().map { WalletPeer(it.nodeId, listOf(it.address)) },
    )
}
// [end]

// [start]
suspend fun WalletApp.startNode() = nodeTurn.withLock {
    if (node.isRunning) return@withLock
    val node = node.node()                           // built, not started: it lists what is on the disk
    val storage = peerStorage.storage()
    storage.reportWallet(walletOf(node, closedChannels.all()))
    when (val answer = storage.checkBeforeNodeStart(budgetMs = 3_000u)) {
        is NodeStart.DoNotStart -> show(answer.alarms)          // the state on this device is old: it could cost all
        is NodeStart.Restored -> showRecovery(answer.channels)  // no node on these words: peers would close for it
        is NodeStart.NothingKnownAgainst, is NodeStart.Unknown -> {
            node.start()                                        // may throw: then it is taken to run all the same
            storage.onHostNodeChanged(true)
        }
    }
}
// [end]

// [health]
fun backupLine(peerStorage: AndroidPeerStorage, storage: PeerStorage): Flow<String> =
    storage.statuses().map { status: StorageStatus ->
        when {
            status.held -> "Your channels are on hold. Please decide."
            status.newest == null -> "No backup yet"
            status.verifiedBy > 0u -> "Backed up: returned by ${status.verifiedBy} peers"
            status.sentTo > 0u -> "Sent to ${status.sentTo} peers, not yet verified"
            else -> "Backup is waiting for a connection"
        }
    }

fun CoroutineScope.watch(app: App, storage: PeerStorage) = launch {
    storage.events().collect { record ->             // told until the block has returned for it
        when (record.event) {
            is StorageEvent.AlarmRaised -> app.show(storage.alarms())
            else -> Unit
        }
    }
}

suspend fun decided(storage: PeerStorage, alarm: StorageAlarm, recover: Boolean) =
    storage.resolveAlarm(alarm.id, if (recover) AlarmResolution.RECOVER else AlarmResolution.STAY_HELD)
// [end]

// [worker]
class BackupWorker(context: Context, parameters: WorkerParameters) : CoroutineWorker(context, parameters) {
    override suspend fun doWork(): Result {
        val storage = (applicationContext as PeerStorageOwner).peerStorage ?: return Result.success()
        val report = storage.runBackgroundPass()
        return if (report.hindrance == null) Result.success() else Result.retry()
    }
}
// [end]

// [restore]
suspend fun restore(storage: PeerStorage, knownPeers: List<WalletPeer>): List<WalletPeer> {
    val found = storage.restore(knownPeers, budgetMs = 60_000u).report
    // Show found.answers (who gave what) and found.unheard (who may have more). To ask these as well, call it again.
    storage.finishRestore()
    return found.peers
}

suspend fun recover(
    storage: PeerStorage,
    chain: ChainAccess,                                      // Esplora("https://blockstream.info/api", proxy = null)
    peers: List<WalletPeer>,
    address: String,                                         // of another wallet of the person's
    hasAgreed: suspend (RecoveryPlan, List<PlannedChannel>) -> Boolean,
    pause: suspend (ULong) -> Unit,
) {
    untilItPasses(pause) { storage.startRecovery(chain, RecoverySettings(), listener = null) }.use { recovery ->
        if (!untilItPasses(pause) { recovery.isBegun() }) {
            val plan = untilItPasses(pause) { recovery.plan(peers, budgetMs = 60_000u) }
            val channels = plan.recoverable()
            if (channels.isEmpty() && plan.waitingSat == 0uL || !hasAgreed(plan, channels)) return
            recovery.agree(
                plan.id,
                RecoveryConsent(
                    channels = channels.map { it.ids },
                    sweepTo = address,
                    feeRateSatPerKwu = 1_000u,
                    highestFeeRateSatPerKwu = 10_000u,
                    oldDeviceIsGone = true,                  // each of these three is a question to the person
                    closesChannelsWithoutKeys = false,
                    goesOnWithoutUnheardPeers = false,
                ),
            )
        }
        while (true) {                                       // for days; it may be killed anywhere
            val progress = untilItPasses(pause) { recovery.step() }
            if (progress.done) return
            pause(progress.nextRoundInMs)
        }
    }
}

/** Without what this version cannot sweep, and what may bring nothing: channels whose keys are in no backup. */
fun RecoveryPlan.recoverable(): List<PlannedChannel> {
    val (sure, unsure) = channels.partition {
        it.claim !is ChannelClaim.Unsupported && it.claim !is ChannelClaim.KeysUnknown
    }
    // The chain alone tells some channels with one peer apart: they are agreed to together or not at all.
    val mixedUp = unsure.filter { it.onlyTogether || it.knownBy == KnownBy.PEER }.map { it.peer }
    return sure.filterNot { it.onlyTogether && it.peer in mixedUp }
}

/** The network, the wallet's own node, the app in background, the chain's server: they come back. */
suspend fun <T> untilItPasses(pause: suspend (ULong) -> Unit, work: suspend () -> T): T {
    while (true) {
        try {
            return work()
        } catch (problem: PeerStorageException) {
            val passes = when (problem) {
                is PeerStorageException.NotNow, is PeerStorageException.Suspended -> true
                is PeerStorageException.Chain -> problem.mayPass
                else -> false
            }
            if (!passes) throw problem
        }
        pause(60_000u)
    }
}
// [end]
