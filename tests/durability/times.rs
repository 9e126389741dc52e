//! How often a random test does it.

/// `few` where nobody asks for more.
pub fn times(few: u64) -> u64 {
    number("PEER_STORAGE_CRASHES").unwrap_or(few)
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
