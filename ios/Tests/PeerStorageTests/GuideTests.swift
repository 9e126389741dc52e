import Foundation
import XCTest

/// What the guide shows is what is compiled here.
final class GuideTests: XCTestCase {
    func test_the_swift_of_the_guide_is_compiled() throws {
        let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let root = here.appendingPathComponent("../../..")
        let guide = try String(contentsOf: root.appendingPathComponent("docs/ios.md"), encoding: .utf8)
        let compiled = regions(of: try String(contentsOf: here.appendingPathComponent("Guide.swift"), encoding: .utf8))
        let shown = blocks(of: guide)
        XCTAssertEqual(shown.count, compiled.count)
        for block in shown {
            XCTAssertTrue(compiled.contains(block), "shown and not compiled:\n\(block)")
        }
    }

    /// From a line `// guide: name` to the line `// end`.
    private func regions(of source: String) -> [String] {
        var regions: [[Substring]] = []
        var isIn = false
        for line in source.split(separator: "\n", omittingEmptySubsequences: false) {
            switch line.trimmingCharacters(in: .whitespaces) {
            case let text where text.hasPrefix("// guide: "):
                isIn = true
                regions.append([])
            case "// end": isIn = false
            default: if isIn { regions[regions.count - 1].append(line) }
            }
        }
        return regions.map { lines in
            lines.joined(separator: "\n").trimmingCharacters(in: .newlines)
        }
    }

    private func blocks(of guide: String) -> [String] {
        guide.components(separatedBy: "```swift\n").dropFirst().map { rest in
            (rest.components(separatedBy: "\n```").first ?? "").trimmingCharacters(in: .newlines)
        }
    }
}
