//! Old channel state is noticed before it can do harm.

mod danger;
mod decisions;
mod forgotten;
mod kills;
mod living;
mod put_back;
mod stage;
mod start;
