import Foundation
import PeerStorage
import PeerStorageTestSupport

// Everything that the library does in scenarios, in the order of their README.
extension Runner {
    func sdk(_ name: String, _ given: Arguments, on device: Device) async throws -> JSON {
        switch name {
        case "open": return try await open(given, on: device)
        case "shutdown":
            let report = try await device.storage.shutdown(budgetMs: given.budget)
            device.opened = nil
            return ["drained": .bool(report.drained), "closed": .bool(report.closed)]
        case "child.start":
            child = try Child(self, steps: given.optional("steps")?.list ?? [])
        case "child.kill":
            try child?.kill()
            child = nil

        case "foreground": try device.storage.onForeground()
        case "network": try device.storage.onNetworkChanged(available: given.bool("available", true))
        case "node_runs": try device.storage.onHostNodeChanged(running: given.bool("runs", true))
        case "hold": device.hold = try device.storage.hold()
        case "release":
            device.hold?.release()
            device.hold = nil

        case "report": return try report(on: device, without: given.optional("without")?.list ?? [])
        case "declare_new": try await device.storage.declareNew()
        case "adopt": try await device.storage.adopt()
        case "channel_swept": try await swept(given.text("peer"), on: device)
        case "set_app_data": try await device.storage.setAppData(data: Data(given.text("text").utf8))

        case "background":
            let report = try await device.storage.onBackground(budgetMs: given.budget)
            return [
                "drained": .bool(report.drained), "suspended": .bool(report.suspended),
                "visible_again": .bool(report.visibleAgain), "obstacle": JSON(report.obstacle.map(snake)),
            ]
        case "pass":
            let report = try await device.storage.runBackgroundPass(budgetMs: given.budget)
            return [
                "suspended": .bool(report.suspended), "hindrance": JSON(report.hindrance.map(snake)),
                "peers": try visits(report.visits?.peers ?? []),
            ]
        case "check": return answer(try await device.storage.checkBeforeNodeStart(budgetMs: given.budget))
        case "sync":
            let (peers, verify) = (try walletPeers(given), given.bool("verify", false))
            let report = try await device.storage.syncWithPeers(peers: peers, verify: verify, budgetMs: given.budget)
            return ["peers": try visits(report.peers)]
        case "restore":
            return told(try await device.storage.restore(peers: walletPeers(given), budgetMs: given.budget).report)
        case "finish_restore": return told(try await device.storage.finishRestore())

        case "status": return try shown(device.storage.status())
        case "events": return try await events(on: device)
        case "resolve_alarm": try await resolve(given, on: device)
        default: return try await recovery(name, given, on: device)
        }
        return [:]
    }

    private func open(_ given: Arguments, on device: Device) async throws -> JSON {
        let seed = given.optional("seed")?.string
        let config = OpenConfig(
            dataDir: device.directory.path,
            network: .regtest,
            expectedNodeId: seed == nil ? start["node_id"]?.string : nil,
            inForeground: given.bool("foreground", true),
            networkAvailable: given.bool("network", true)
        )
        let secret = try WalletSecret.fromLdkSeed(bytes: Data(hex: seed ?? start["seed"]?.string ?? ""))
        let opened = try await PeerStorage.open(config: config, secret: secret)
        device.opened = opened
        return [:]
    }

    private func report(on device: Device, without names: [JSON]) throws -> JSON {
        let leftOut = try names.compactMap(\.string).map { try walletPeer($0).nodeId }
        let all = try WalletReport(world(["do": "channels"]))
        let report = WalletReport(
            channels: all.channels.filter { !leftOut.contains($0.counterpartyNodeId) },
            peers: all.peers,
            keepBackupsAt: all.keepBackupsAt,
            spendableOutputs: all.spendableOutputs,
            earliestHtlcExpiry: all.earliestHtlcExpiry
        )
        try device.storage.reportWallet(report: report)
        device.report = report
        try device.storage.reportTip(height: UInt32(world(["do": "tip"])["height"]?.number ?? 0))
        return ["channels": JSON(report.channels.count)]
    }

    private func swept(_ peer: String, on device: Device) async throws {
        let nodeId = try walletPeer(peer).nodeId
        for channel in device.report?.channels ?? [] where channel.counterpartyNodeId == nodeId {
            try await device.storage.channelSwept(channel: ChannelIds(channelId: channel.channelId))
        }
    }

    private func events(on device: Device) async throws -> JSON {
        while let record = try await device.storage.nextEvent() {
            device.eventKinds.append(snake(record.event))
            try await device.storage.eventHandled(id: record.id)
        }
        return ["count": JSON(device.eventKinds.count), "kinds": counted(device.eventKinds)]
    }

    private func resolve(_ given: Arguments, on device: Device) async throws {
        let (kind, resolution) = (try given.text("kind"), try given.text("resolution"))
        let known: [AlarmResolution] = [.recover, .stayHeld, .thisDeviceIsCurrent]
        guard let alarm = try device.storage.alarms().first(where: { snake($0.kind) == kind }),
            let resolution = known.first(where: { snake($0) == resolution })
        else { throw Failure("no such alarm, or no such resolution") }
        try await device.storage.resolveAlarm(id: alarm.id, resolution: resolution)
    }

    private func recovery(_ name: String, _ given: Arguments, on device: Device) async throws -> JSON {
        switch name {
        case "recovery.start":
            let chain = ChainAccess.esplora(url: start["esplora"]?.string ?? "", proxy: nil)
            let settings = RecoverySettings(stayMs: 1000)
            device.recovery = try await device.storage.startRecovery(chain: chain, settings: settings, listener: nil)
        case "recovery.plan":
            let plan = try await begun(device).plan(peers: walletPeers(given), budgetMs: given.budget)
            device.plan = plan
            return ["channels": JSON(plan.channels.count), "recoverable": JSON(recoverable(plan).count)]
        case "recovery.agree":
            guard let plan = device.plan else { throw Failure("nothing was planned") }
            let consent = RecoveryConsent(
                channels: recoverable(plan).map(\.ids),
                sweepTo: start["sweep_to"]?.string ?? "",
                feeRateSatPerKwu: 1000,
                highestFeeRateSatPerKwu: 5000,
                oldDeviceIsGone: given.bool("old_device_is_gone", false),
                closesChannelsWithoutKeys: false,
                goesOnWithoutUnheardPeers: given.bool("goes_on_without_unheard_peers", false)
            )
            try await begun(device).agree(planId: plan.id, consent: consent)
        case "recovery.step":
            let progress = try await begun(device).step()
            return [
                "done": .bool(progress.done), "found_sat": JSON(progress.foundSat),
                "recovered_sat": JSON(progress.recoveredSat), "fees_sat": JSON(progress.feesSat),
                "kept": JSON(progress.kept.count),
            ]
        case "recovery.end":
            device.recovery = nil
            device.plan = nil
        default: throw Failure("unknown")
        }
        return [:]
    }

    private func begun(_ device: Device) throws -> Recovery {
        guard let recovery = device.recovery else { throw Failure("no recovery was started") }
        return recovery
    }

    private func recoverable(_ plan: RecoveryPlan) -> [PlannedChannel] {
        plan.channels.filter { ["balance", "balance_and_payments"].contains(snake($0.claim)) }
    }
}
