//! What each record does to the tables. The caller holds the transaction.

use lightning::util::ser::Writeable;
use rusqlite::{params, Connection};

use super::error::StoreError;
use super::{blobs, own, values, EventId};
use crate::backup::BackupKey;
use crate::exchange::{Past, Record};

pub(super) fn apply(
    connection: &Connection,
    key: &BackupKey,
    record: &Record,
) -> Result<(), StoreError> {
    match record {
        Record::Past(past) => execute(
            connection,
            "UPDATE meta SET past_known = ?",
            params![matches!(past, Past::Known)],
        ),
        Record::LostBefore(epoch) => execute(
            connection,
            "UPDATE meta SET lost_before = ?",
            params![epoch],
        ),
        Record::Restored => execute(connection, "UPDATE meta SET was_restored = 1", &[]),
        // The highest stays the highest, whatever comes in which order.
        Record::HighestSeen(revision) => execute(
            connection,
            "UPDATE meta SET highest_seen = max(highest_seen, ?)",
            params![values::revision_bytes(*revision)],
        ),
        Record::Snapshot(snapshot) => own::save(connection, key, snapshot),
        Record::Storer(peer, state) => execute(
            connection,
            "INSERT OR REPLACE INTO storers (peer, tlv) VALUES (?, ?)",
            params![peer.serialize(), state.encode()],
        ),
        Record::Foreign {
            peer,
            installation,
            revision,
            blob,
        } => blobs::save_foreign(connection, peer, *installation, *revision, blob),
        Record::Resolved(ids) => execute(
            connection,
            "INSERT OR IGNORE INTO resolved (tlv) VALUES (?)",
            params![ids.encode()],
        ),
        Record::Alarm(alarm) => {
            let id = alarm.id.0 as i64;
            execute(
                connection,
                "UPDATE meta SET last_alarm = max(last_alarm, ?)",
                params![id],
            )?;
            execute(
                connection,
                "INSERT OR REPLACE INTO alarms (id, tlv) VALUES (?, ?)",
                params![id, alarm.encode()],
            )
        }
        Record::AlarmOver(id) => execute(
            connection,
            "DELETE FROM alarms WHERE id = ?",
            params![id.0 as i64],
        ),
        // Told once is enough while the app has not acted on it: a peer that repeats itself must not
        // fill the disk of an app that does not look.
        Record::Event(event) => execute(
            connection,
            "INSERT INTO events (tlv) SELECT ?1
             WHERE NOT EXISTS (SELECT 1 FROM events WHERE tlv = ?1)",
            params![event.encode()],
        ),
        Record::Slot { peer, blob } => blobs::save_slot(connection, peer, blob),
        Record::SlotUnfunded { peer, since_height } => {
            blobs::set_unfunded(connection, peer, *since_height)
        }
        Record::SlotExpired(peer) => blobs::delete_slot(connection, peer),
    }
}

/// The app has acted on an event: it is not told again.
pub(super) fn acknowledge(connection: &Connection, id: EventId) -> Result<(), StoreError> {
    execute(
        connection,
        "DELETE FROM events WHERE id = ?",
        params![id.0 as i64],
    )
}

pub(super) fn add_recovery_step(connection: &Connection, sealed: &[u8]) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO recovery_steps (sealed) VALUES (?)",
        params![sealed],
    )
}

pub(super) fn recovery_steps(connection: &Connection) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut steps = connection.prepare_cached("SELECT sealed FROM recovery_steps ORDER BY id")?;
    let rows = steps.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn execute(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
