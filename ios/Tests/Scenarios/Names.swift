import Foundation
import PeerStorage
import PeerStorageTestSupport

/// The name of an enum's case as scenarios write it: `noNetwork` is `no_network`.
func snake<Enum>(_ value: Enum) -> String {
    snake(Mirror(reflecting: value).children.first?.label ?? "\(value)")
}

func snake(_ name: String) -> String {
    name.enumerated().reduce(into: "") { text, next in
        let (at, letter) = next
        if letter.isUppercase, at > 0 { text += "_" }
        text += letter.lowercased()
    }
}

/// An error, as `fails` has it: the name of its kind, and its fields.
func described(_ error: PeerStorageError) -> JSON {
    var fields: [String: JSON] = ["error": .string(snake(error))]
    if let payload = Mirror(reflecting: error).children.first?.value {
        for (name, value) in Mirror(reflecting: payload).children {
            guard let name else { continue }
            fields[snake(name)] = switch value {
            case let text as String: .string(text)
            case let bool as Bool: .bool(bool)
            default: .string(snake(value))
            }
        }
    }
    return .object(fields)
}

extension Revision {
    var text: JSON { .string("\(epoch).\(generation)") }
}

/// How many of each.
func counted<Things: Sequence>(_ things: Things) -> JSON where Things.Element == String {
    .object(things.reduce(into: [:]) { counts, name in
        counts[name] = JSON((counts[name]?.number ?? 0) + 1)
    })
}
