//! What can be wrong with a server.

/// A fault of an [`EsploraServer`](super::EsploraServer). The first ones befall any request; the lies
/// only those that they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Takes the request and never answers.
    Stall,
    /// Closes the connection without an answer.
    Close,
    /// Answers with a body that comes a byte at a time and never ends.
    Drip,
    /// Answers with a body that comes as fast as it is read and never ends.
    Endless,
    /// Answers with this status and body, whatever was asked.
    Answer(u16, Vec<u8>),
    /// The genesis block is that of the main network.
    OtherChain,
    /// A block's header is that of another block.
    WrongHeader,
    /// The best block, and any transaction's, is one that nobody has worked for.
    NoWork,
    /// Each height has the hash of the block before.
    ShiftedHeights,
    /// A block has another transaction in each place.
    WrongIndex,
    /// In place of a transaction comes another, and those of a history have other values.
    WrongTransaction,
    /// Each output was spent, by a transaction that does not spend it.
    WrongSpend,
    /// Each output was spent, by a transaction that does not exist.
    UnknownSpend,
    /// Each transaction is confirmed in the best block, and its merkle proof is one of another tree.
    ForgedConfirmation,
    /// A script's history has a transaction that does not concern it.
    ForeignHistory,
    /// The pages of a script's history never end: each is the first.
    CirclingHistory,
    /// Says of each transaction that it has broadcast another, and keeps it.
    WrongBroadcast,
    /// Refuses each transaction, and keeps it.
    RefusedBroadcast,
    /// Says of each transaction that it was broadcast, and keeps it.
    LostBroadcast,
    /// The best block is one so many blocks below it.
    TipBehind(u32),
    /// Each output is unspent.
    HiddenSpend,
}
