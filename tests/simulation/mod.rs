//! A world of wallets and their peers in virtual time. One seed decides everything that happens.

pub mod blob;
pub mod calm;
pub mod device;
pub mod disk;
pub mod names;
pub mod random;
pub mod rules;
pub mod script;
pub mod storer;
pub mod wire;
pub mod world;
