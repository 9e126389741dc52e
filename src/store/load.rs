//! What `open` reads: whether the file is sound and ours, and the state that was durable. No blob of
//! a peer is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use lightning::util::ser::Readable;
use rusqlite::Connection;

use super::error::StoreError;
use super::{own, schema, values, Owner};
use crate::backup::{BackupKey, InstallationId};
use crate::exchange::{AlarmId, Past, SavedState, SlotState, StorerState};

/// Whether the directory is that of `owner`. Works for every schema.
pub(super) fn check_owner(connection: &Connection, owner: &Owner) -> Result<(), StoreError> {
    let (node_id, network): (Vec<u8>, String) = connection.query_row(
        "SELECT node_id, network FROM meta WHERE id = 1",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if node_id != owner.node_id.serialize() || network != owner.network.to_string() {
        return Err(StoreError::WrongNode);
    }
    Ok(())
}

/// Looks for damage in all pages but those of blobs, whose bytes are checked when they are read.
pub(super) fn check_tables(connection: &Connection, version: i64) -> Result<(), StoreError> {
    for table in schema::small_tables(version) {
        let verdict: String =
            connection.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| {
                row.get(0)
            })?;
        if verdict != "ok" {
            return Err(StoreError::corrupt(verdict));
        }
    }
    let unpaired: i64 = connection.query_row(
        "SELECT (SELECT count(*) FROM slots) != (SELECT count(*) FROM slot_blobs)
             OR (SELECT count(*) FROM foreign_backups) != (SELECT count(*) FROM foreign_blobs)",
        [],
        |row| row.get(0),
    )?;
    if unpaired != 0 {
        return Err(StoreError::corrupt("blobs are missing"));
    }
    Ok(())
}

/// The state that was durable when the host stopped.
pub(super) fn load(connection: &Connection, key: &BackupKey) -> Result<SavedState, StoreError> {
    let mut state = meta(connection)?;
    state.snapshot = own::newest(connection, key)?.map(Arc::new);
    if let Some(snapshot) = &state.snapshot {
        state.highest_seen = state.highest_seen.max(snapshot.revision);
    }
    state.storers = storers(connection)?;
    state.resolved = tlvs(connection, "SELECT tlv FROM resolved", "a resolved channel")?;
    state.alarms = tlvs(connection, "SELECT tlv FROM alarms", "an alarm")?;
    state.alarms.sort_by_key(|alarm| alarm.id);
    state.slots = slots(connection)?;
    Ok(state)
}

fn meta(connection: &Connection) -> Result<SavedState, StoreError> {
    let state = connection.query_row(
        "SELECT installation, past_known, highest_seen, lost_before, last_alarm, was_restored
         FROM meta WHERE id = 1",
        [],
        |row| {
            let known: bool = row.get(1)?;
            Ok(SavedState {
                installation: InstallationId(row.get(0)?),
                past: if known { Past::Known } else { Past::Unknown },
                highest_seen: values::revision(row.get(2)?),
                lost_before_epoch: row.get(3)?,
                last_alarm: AlarmId(row.get::<_, i64>(4)? as u64),
                was_restored: row.get(5)?,
                ..SavedState::default()
            })
        },
    )?;
    Ok(state)
}

fn storers(
    connection: &Connection,
) -> Result<BTreeMap<bitcoin::secp256k1::PublicKey, StorerState>, StoreError> {
    let mut statement = connection.prepare("SELECT peer, tlv FROM storers")?;
    let mut rows = statement.query([])?;
    let mut storers = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (peer, tlv): ([u8; 33], Vec<u8>) = (row.get(0)?, row.get(1)?);
        storers.insert(
            values::public_key(&peer)?,
            values::decode(&tlv, "a storer")?,
        );
    }
    Ok(storers)
}

fn slots(
    connection: &Connection,
) -> Result<BTreeMap<bitcoin::secp256k1::PublicKey, SlotState>, StoreError> {
    let mut statement = connection.prepare("SELECT peer, len, unfunded_since FROM slots")?;
    let mut rows = statement.query([])?;
    let mut slots = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (peer, len): ([u8; 33], i64) = (row.get(0)?, row.get(1)?);
        let len = usize::try_from(len).map_err(StoreError::corrupt)?;
        let slot = SlotState {
            len,
            unfunded_since: row.get(2)?,
        };
        slots.insert(values::public_key(&peer)?, slot);
    }
    Ok(slots)
}

fn tlvs<T: Readable>(connection: &Connection, sql: &str, what: &str) -> Result<Vec<T>, StoreError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        let tlv: Vec<u8> = row.get(0)?;
        values.push(values::decode(&tlv, what)?);
    }
    Ok(values)
}
