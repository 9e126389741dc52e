package org.peerstorage.scenarios

import java.io.File
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import org.peerstorage.AlarmResolution
import org.peerstorage.BitcoinNetwork
import org.peerstorage.ChainAccess
import org.peerstorage.ChannelClaim
import org.peerstorage.ChannelIds
import org.peerstorage.Hold
import org.peerstorage.NodeStart
import org.peerstorage.OpenConfig
import org.peerstorage.PeerStorage
import org.peerstorage.PeerVisit
import org.peerstorage.Recovery
import org.peerstorage.RecoveryConsent
import org.peerstorage.RecoveryPlan
import org.peerstorage.RecoverySettings
import org.peerstorage.RestoreReport
import org.peerstorage.Revision
import org.peerstorage.VisitOutcome
import org.peerstorage.WalletReport
import org.peerstorage.WalletSecret
import org.peerstorage.WhyUnknown
import org.peerstorage.android.open

/** One data directory of a scenario, and what an app on it does: each step as tests/scenarios/README.md says. */
class Device(private val directory: File, private val started: Started, private val told: Told) {
    private var storage: PeerStorage? = null
    private var hold: Hold? = null
    private var recovery: Recovery? = null
    private var plan: RecoveryPlan? = null
    private var reported: WalletReport? = null
    private val events = mutableListOf<String>()

    suspend fun carryOut(step: JsonObject): JsonObject {
        val args = Args(step)
        return carryOut(args).also { args.allRead() }
    }

    private suspend fun carryOut(step: Args): JsonObject =
        when (step.what) {
            "open" -> open(step)
            "shutdown" -> shutdown(step)
            "foreground" -> done { storage().onForeground() }
            "network" -> done { storage().onNetworkChanged(step.flag("available")) }
            "node_runs" -> done { storage().onHostNodeChanged(step.flag("runs")) }
            "hold" -> done { hold = storage().hold() }
            "release" -> done { hold?.use { it.release() } }
            "report" -> report(step)
            "declare_new" -> done { storage().declareNew() }
            "adopt" -> done { storage().adopt() }
            "channel_swept" -> done { channelSwept(step) }
            "set_app_data" -> done { storage().setAppData(step.text("text").encodeToByteArray()) }
            "background" -> background(step)
            "pass" -> pass(step)
            "check" -> check(step)
            "sync" -> storage().syncWithPeers(started.peers(step.names("peers")), step.flag("verify", false), step.budget())
                .let { answer("peers" to visits(it.peers)) }
            "restore" -> restored(storage().restore(started.peers(step.names("peers")), step.budget()).report)
            "finish_restore" -> restored(storage().finishRestore())
            "status" -> status()
            "events" -> events()
            "resolve_alarm" -> done { resolveAlarm(step) }
            "recovery.start" -> done { startRecovery() }
            "recovery.plan" -> plan(step)
            "recovery.agree" -> done { agree(step) }
            "recovery.step" -> recoveryStep()
            "recovery.end" -> done { endRecovery() }
            else -> error("no such step: ${step.what}")
        }

    /** A scenario that failed in its midst lets go, too. */
    suspend fun letGo() {
        endRecovery()
        storage?.use { it.shutdown(1000u) }
        storage = null
    }

    private fun storage(): PeerStorage = checkNotNull(storage) { "nothing is open on ${directory.name}" }

    private suspend fun open(step: Args): JsonObject {
        val seed = step.textOrNull("seed")
        val opened = WalletSecret.fromLdkSeed((seed ?: started.seed).bytes()).use { secret ->
            PeerStorage.open(
                OpenConfig(
                    dataDir = directory.path,
                    network = BitcoinNetwork.REGTEST,
                    expectedNodeId = if (seed == null) started.nodeId else null,
                    inForeground = step.flag("foreground", true),
                    networkAvailable = step.flag("network", true),
                ),
                secret,
            )
        }
        storage = opened
        return answer()
    }

    private suspend fun shutdown(step: Args): JsonObject {
        val report = storage().use { it.shutdown(step.budget()) }
        storage = null
        return answer("drained" to report.drained, "closed" to report.closed)
    }

    private fun report(step: Args): JsonObject {
        val without = step.names("without").map(started::nodeIdOf)
        val whole = walletReport(told.channels())
        val report = whole.copy(channels = whole.channels.filterNot { it.counterpartyNodeId in without })
        storage().reportWallet(report)
        storage().reportTip(told.tip().getValue("height").jsonPrimitive.long.toUInt())
        reported = report
        return answer("channels" to report.channels.size)
    }

    private suspend fun channelSwept(step: Args) {
        val peer = started.nodeIdOf(step.text("peer"))
        for (channel in reported?.channels.orEmpty().filter { it.counterpartyNodeId == peer }) {
            storage().channelSwept(ChannelIds(channelId = channel.channelId))
        }
    }

    private suspend fun background(step: Args): JsonObject {
        val report = storage().onBackground(step.budget())
        return answer(
            "drained" to report.drained,
            "suspended" to report.suspended,
            "visible_again" to report.visibleAgain,
            "obstacle" to report.obstacle,
        )
    }

    private suspend fun pass(step: Args): JsonObject {
        val report = storage().runBackgroundPass(step.budget())
        return answer(
            "suspended" to report.suspended,
            "hindrance" to report.hindrance,
            "peers" to visits(report.visits?.peers.orEmpty()),
        )
    }

    private suspend fun check(step: Args): JsonObject {
        val start = storage().checkBeforeNodeStart(step.budget())
        val why = (start as? NodeStart.Unknown)?.why
        return answer(
            "answer" to variant(start),
            "why" to why?.let { if (it is WhyUnknown.Hindered) variant(it.hindrance) else variant(it) },
            "alarms" to ((start as? NodeStart.DoNotStart)?.alarms.orEmpty().size),
            "channels" to ((start as? NodeStart.Restored)?.channels ?: 0u),
        )
    }

    private fun visits(visits: List<PeerVisit>): JsonObject =
        JsonObject(visits.associate { started.nameOf(it.nodeId) to visit(it.outcome) })

    private fun visit(outcome: VisitOutcome): JsonObject =
        when (outcome) {
            is VisitOutcome.Visited -> answer(
                "reached" to true,
                "returned" to variant(outcome.returned),
                "sent" to (outcome.sent != null),
                "delivered" to outcome.delivered,
                "verified" to outcome.verified,
            )
            is VisitOutcome.NotReached -> answer("reached" to false, "why" to outcome.why)
        }

    private fun restored(report: RestoreReport): JsonObject = answer(
        "newest" to report.newest?.let(::number),
        "answers" to report.answers.size,
        "silent" to report.silent.size,
        "unheard" to report.unheard.size,
        "channels" to report.channels.size,
        "older_channels" to report.olderChannels.size,
        "app_data" to report.appData.decodeToString(),
    )

    private fun status(): JsonObject {
        val status = storage().status()
        return answer(
            "activity" to status.activity,
            "past" to status.past,
            "newest" to status.newest?.let(::number),
            "channels" to status.channels,
            "restored_channels" to status.restoredChannels,
            "verified_by" to status.verifiedBy,
            "sent_to" to status.sentTo,
            "unprotected_channels" to status.unprotectedChannels,
            "held" to status.held,
            "alarm_count" to status.alarms.size,
            "alarms" to status.alarms.groupingBy { variant(it.kind) }.eachCount(),
            "peers" to status.peers.associate { started.nameOf(it.nodeId) to it.health },
        )
    }

    private suspend fun events(): JsonObject {
        while (true) {
            val record = storage().nextEvent() ?: break
            events += variant(record.event)
            storage().eventHandled(record.id)
        }
        return answer("count" to events.size, "kinds" to events.groupingBy { it }.eachCount())
    }

    private suspend fun resolveAlarm(step: Args) {
        val alarm = storage().alarms().first { variant(it.kind) == step.text("kind") }
        storage().resolveAlarm(alarm.id, AlarmResolution.valueOf(step.text("resolution").uppercase()))
    }

    // ---- recovery ----------------------------------------------------------------------------

    private fun recovery(): Recovery = checkNotNull(recovery) { "no recovery on ${directory.name}" }

    private suspend fun startRecovery() {
        val chain = ChainAccess.Esplora(started.esplora, null)
        recovery = storage().startRecovery(chain, RecoverySettings(stayMs = 1000u), null)
    }

    private suspend fun plan(step: Args): JsonObject {
        val made = recovery().plan(started.peers(step.names("peers")), step.budget())
        plan = made
        return answer("channels" to made.channels.size, "recoverable" to recoverable(made).size)
    }

    private fun recoverable(plan: RecoveryPlan) = plan.channels.filter {
        it.claim is ChannelClaim.Balance || it.claim is ChannelClaim.BalanceAndPayments
    }

    private suspend fun agree(step: Args) {
        val plan = checkNotNull(plan) { "no plan" }
        recovery().agree(
            plan.id,
            RecoveryConsent(
                channels = recoverable(plan).map { it.ids },
                sweepTo = started.sweepTo,
                feeRateSatPerKwu = 1000u,
                highestFeeRateSatPerKwu = 5000u,
                oldDeviceIsGone = step.flag("old_device_is_gone", false),
                closesChannelsWithoutKeys = false,
                goesOnWithoutUnheardPeers = step.flag("goes_on_without_unheard_peers", false),
            ),
        )
    }

    private suspend fun recoveryStep(): JsonObject {
        val progress = recovery().step()
        return answer(
            "done" to progress.done,
            "found_sat" to progress.foundSat,
            "recovered_sat" to progress.recoveredSat,
            "fees_sat" to progress.feesSat,
            "kept" to progress.kept.size,
        )
    }

    private fun endRecovery() {
        recovery?.close()
        recovery = null
    }

    private fun number(revision: Revision) = "${revision.epoch}.${revision.generation}"

    private suspend fun done(work: suspend () -> Unit): JsonObject {
        work()
        return answer()
    }
}
