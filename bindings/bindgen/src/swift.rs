//! UniFFI's generator for Swift, which also knows headers and module maps.

fn main() {
    uniffi::uniffi_bindgen_swift()
}
