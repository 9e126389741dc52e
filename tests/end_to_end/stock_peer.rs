//! Peers that do not run this crate: what LDK 0.2.7 keeps by itself, and how Core Lightning behaves.

mod adoption;
mod capacity;
mod core_lightning;
