//! UniFFI's generator, in the version of the library: `uniffi-bindgen generate LIBRARY --language kotlin`.

fn main() {
    uniffi::uniffi_bindgen_main()
}
