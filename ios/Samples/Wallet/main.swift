// A wallet on the command line, from its first channel to the coins of a lost phone:
//
//     cargo xtask swift
//
// Its Lightning node, the peers and the chain are one other process (tests/world). The backup is the real library.
import Foundation
import PeerStorageTestSupport

if let file = CommandLine.arguments.dropFirst().first {
    try await Phone(file: URL(fileURLWithPath: file)).backsUpInBackground()
} else {
    try await story()
}

func story() async throws {
    let world = try World()
    let place = try TemporaryDirectory()
    let started = try world.tell(["do": "start", "name": "sample_wallet", "peers": [
        ["name": "bert", "kind": "stock"], ["name": "carl", "kind": "stock"],
    ]])

    say("A wallet opens two channels, pays and is paid.")
    try world.tell("node_start")
    try world.tell("open_channel", ["peer": "bert", "sat": 1_000_000])
    try world.tell("open_channel", ["peer": "carl", "sat": 600_000])
    try world.tell("pay", ["peer": "bert", "msat": 20_000_000])
    try world.tell("receive", ["peer": "carl", "msat": 10_000_000])
    try world.tell("node_stop")
    let listed = try world.tell(["do": "channels"])
    let owned = listed["owned_sat"]?.number ?? 0
    say("It owns \(owned) sat in its channels.")

    say("The app is left, and while it backs up iOS kills it.")
    let phone = Phone(started, listed, directory: place.url.appendingPathComponent("phone"))
    try phone.isKilledInBackground(asSoonAs: { try world.tell("wait_backup", ["peer": "bert"]) })

    say("It is opened again.")
    try await phone.resumes()

    say("The phone is lost, with all that is on it. A new one has the words and one address.")
    try world.tell("node_lost")
    try FileManager.default.removeItem(at: phone.directory)
    let newPhone = Phone(started, listed, directory: place.url.appendingPathComponent("new-phone"))
    let progress = try await newPhone.recovers { try world.tell("mine", ["blocks": 1]) }

    let balance = try world.tell(["do": "balance", "address": started["sweep_to"] ?? .null])
    say("On the chain now: \(balance["sat"]?.number ?? 0) sat. The fees were \(progress.feesSat) sat.")
    world.end()
    guard balance["sat"]?.number == progress.recoveredSat, progress.recoveredSat + progress.feesSat == owned else {
        throw NeverHappened(description: "not all came back")
    }
    say("wallet: ok owned_sat=\(owned) recovered_sat=\(progress.recoveredSat) fees_sat=\(progress.feesSat)")
}

func say(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
}

extension World {
    func tell(_ command: String, _ arguments: [String: JSON] = [:]) throws {
        _ = try tell(.object(arguments.merging(["do": .string(command)]) { _, new in new }))
    }
}
