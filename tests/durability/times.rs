//! How often a random test does it.

/// In each run of the tests. `cargo xtask crash` asks for ten times as many.
const TIMES: u64 = 100;

/// So many power cuts, kills or years, of each kind.
pub fn times() -> u64 {
    number("PEER_STORAGE_CRASHES").unwrap_or(TIMES)
}

/// The first seed.
pub fn first_seed() -> u64 {
    number("PEER_STORAGE_SEED").unwrap_or(1)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
