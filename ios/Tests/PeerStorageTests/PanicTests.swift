import Foundation
import PeerStorage
import PeerStorageFFI
import PeerStorageTestSupport
import XCTest

/// A panic in Rust is an error of that call. To bring one about from here, the library is given what no generated code
/// gives: bytes of a negative length.
final class PanicTests: XCTestCase {
    func test_a_panic_in_rust_ends_neither_the_process_nor_what_is_open() async throws {
        let directory = try TemporaryDirectory()
        let storage = try await PeerStorage.open(in: directory.url, networkAvailable: false)
        for _ in 0..<3 {
            var status = RustCallStatus()
            _ = ffi_peer_storage_ffi_rustbuffer_from_bytes(ForeignBytes(len: -1, data: nil), &status)
            XCTAssertEqual(status.code, 2, "a panic, and no error of the API")
            ffi_peer_storage_ffi_rustbuffer_free(status.errorBuf, &status)
        }
        try await storage.declareNew()
        XCTAssertEqual(try storage.status().past, .known)
        let report = try await storage.shutdown(budgetMs: 1000)
        XCTAssertTrue(report.closed)
    }
}
