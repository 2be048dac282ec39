//! Rows of the ledger's tree, of its signed checkpoints, and of the keys that sign them.

use sqlx::FromRow;
use uuid::Uuid;

use super::StoreError;
use super::database::{Database, bytes32};
use super::sql::Transaction;
use crate::ledger::tree::{FullTile, TILE_WIDTH, TilePlace};
use crate::vault::Bytes32;

/// Tiles written in one transaction: a commit behind it waits for half a megabyte at most.
const TILES_AT_ONCE: usize = 64;

/// A key of an org's ledger.
#[derive(Debug, Clone)]
pub struct LedgerKeyRow {
    /// Its id.
    pub id: Uuid,
    /// What checks its signatures.
    pub public: Bytes32,
    /// Its secret under the vault's key: the wrapped key and the ciphertext; none if it is kept elsewhere.
    pub sealed: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether it signs.
    pub is_current: bool,
}

/// A checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointRow {
    /// How many entries the ledger had.
    pub size: u64,
    /// The root of their tree.
    pub root: Bytes32,
    /// Who signed it.
    pub signatures: Vec<SignatureRow>,
}

/// A signature of a checkpoint.
#[derive(Debug, Clone)]
pub struct SignatureRow {
    /// The id of the key.
    pub key: Uuid,
    /// What it signed with.
    pub bytes: Vec<u8>,
}

/// `key_id`, `public_key`, `wrapped_key`, `ciphertext`, `retired_at`.
type KeyColumns = (Uuid, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>);

#[derive(FromRow)]
struct SignedRow {
    size: i64,
    root: Vec<u8>,
    key_id: Uuid,
    signature: Vec<u8>,
}

impl Database {
    /// The keys of an org's ledger, oldest first.
    pub async fn ledger_keys(&self, org: Uuid) -> Result<Vec<LedgerKeyRow>, StoreError> {
        let sql = "SELECT key_id, public_key, wrapped_key, ciphertext, retired_at FROM ledger_keys \
                   WHERE org_id = $1 ORDER BY created_at, key_id";
        let rows: Vec<KeyColumns> = self.readers().query(sql).bind(org).all().await?;
        let key = |(id, public, wrapped_key, ciphertext, retired_at): KeyColumns| {
            let public = bytes32(&public, "key of the ledger")?;
            Ok(LedgerKeyRow {
                id,
                public,
                sealed: wrapped_key.zip(ciphertext),
                is_current: retired_at.is_none(),
            })
        };
        rows.into_iter().map(key).collect()
    }

    /// Keeps the first key, unless there is one that signs.
    pub async fn keep_first_ledger_key(
        &self,
        org: Uuid,
        key: &LedgerKeyRow,
        now_us: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writers().begin().await?;
        insert_key(&mut transaction, org, key, now_us).await?;
        transaction.commit().await
    }

    /// Replaces a key, with what the new one signed first. False if somebody else replaced it.
    pub async fn replace_ledger_key(
        &self,
        org: Uuid,
        old: Uuid,
        new: &LedgerKeyRow,
        signed: Option<&CheckpointRow>,
        now_us: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writers().begin().await?;
        let sql =
            "UPDATE ledger_keys SET retired_at = $1 WHERE org_id = $2 AND key_id = $3 AND retired_at IS NULL";
        if transaction.query(sql).bind(now_us).bind(org).bind(old).execute().await? != 1 {
            return Ok(false);
        }
        insert_key(&mut transaction, org, new, now_us).await?;
        let sql = "SELECT COALESCE(MAX(size), 0) FROM ledger_checkpoints WHERE org_id = $1";
        let (latest,): (i64,) = transaction.query(sql).bind(org).one().await?;
        if signed.is_some_and(|signed| number(signed.size) < latest) {
            // Another server signed more meanwhile: the new key has to sign that.
            return Ok(false);
        }
        if let Some(signed) = signed {
            insert_signatures(&mut transaction, org, signed, now_us).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Those of these tiles that are stored.
    pub async fn ledger_tiles(&self, org: Uuid, places: &[TilePlace]) -> Result<Vec<FullTile>, StoreError> {
        let mut tiles = Vec::with_capacity(places.len());
        for place in places {
            let sql = "SELECT hashes FROM ledger_tiles WHERE org_id = $1 AND level = $2 AND tile = $3";
            let query =
                self.readers().query(sql).bind(org).bind(i64::from(place.level)).bind(number(place.index));
            let Some((hashes,)) = query.optional::<(Vec<u8>,)>().await? else { continue };
            match hashes.as_chunks::<32>() {
                (hashes, []) if hashes.len() == TILE_WIDTH => {
                    tiles.push(FullTile { place: *place, hashes: hashes.to_vec() });
                }
                _ => return Err(StoreError::Corrupt("tile of the ledger's tree")),
            }
        }
        Ok(tiles)
    }

    /// Keeps tiles. They follow from the entries, so those of nothing that is signed yet may be written anew.
    pub async fn keep_ledger_tiles(&self, org: Uuid, tiles: &[FullTile]) -> Result<(), StoreError> {
        for some in tiles.chunks(TILES_AT_ONCE) {
            let mut transaction = self.writers().begin().await?;
            for FullTile { place, hashes } in some {
                let sql = "INSERT INTO ledger_tiles (org_id, level, tile, hashes) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (org_id, level, tile) DO UPDATE SET hashes = excluded.hashes";
                let query =
                    transaction.query(sql).bind(org).bind(i64::from(place.level)).bind(number(place.index));
                query.bind(hashes.concat()).execute().await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// The checkpoint of the most entries.
    pub async fn last_checkpoint(&self, org: Uuid) -> Result<Option<CheckpointRow>, StoreError> {
        let sql = "SELECT size, root, key_id, signature FROM ledger_checkpoints WHERE org_id = $1 AND size = \
                   (SELECT MAX(size) FROM ledger_checkpoints WHERE org_id = $1) ORDER BY signed_at, key_id";
        let rows: Vec<SignedRow> = self.readers().query(sql).bind(org).all().await?;
        Ok(checkpoints(rows)?.pop())
    }

    /// The checkpoint of so many entries.
    pub async fn checkpoint(&self, org: Uuid, size: u64) -> Result<Option<CheckpointRow>, StoreError> {
        let sql = "SELECT size, root, key_id, signature FROM ledger_checkpoints WHERE org_id = $1 AND size = $2 \
                   ORDER BY signed_at, key_id";
        let rows: Vec<SignedRow> = self.readers().query(sql).bind(org).bind(number(size)).all().await?;
        Ok(checkpoints(rows)?.pop())
    }

    /// The checkpoints of so many entries or more, by size.
    pub async fn checkpoints_from(&self, org: Uuid, size: u64) -> Result<Vec<CheckpointRow>, StoreError> {
        let sql = "SELECT size, root, key_id, signature FROM ledger_checkpoints WHERE org_id = $1 AND size >= $2 \
                   ORDER BY size, signed_at, key_id";
        let rows: Vec<SignedRow> = self.readers().query(sql).bind(org).bind(number(size)).all().await?;
        checkpoints(rows)
    }

    /// Keeps a checkpoint, if the last one is still of so many entries and the key still signs. False if not.
    pub async fn keep_checkpoint(
        &self,
        org: Uuid,
        last: Option<u64>,
        checkpoint: &CheckpointRow,
        now_us: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writers().begin().await?;
        for signature in &checkpoint.signatures {
            // Changes nothing, but holds the row, so that two servers do this one after the other.
            let sql = "UPDATE ledger_keys SET retired_at = NULL WHERE org_id = $1 AND key_id = $2 AND retired_at IS NULL";
            if transaction.query(sql).bind(org).bind(signature.key).execute().await? != 1 {
                return Ok(false);
            }
        }
        let sql = "SELECT MAX(size) FROM ledger_checkpoints WHERE org_id = $1";
        let (size,): (Option<i64>,) = transaction.query(sql).bind(org).one().await?;
        if size != last.map(number) {
            return Ok(false);
        }
        insert_signatures(&mut transaction, org, checkpoint, now_us).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn insert_key(
    transaction: &mut Transaction,
    org: Uuid,
    key: &LedgerKeyRow,
    now_us: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO ledger_keys (org_id, key_id, public_key, wrapped_key, ciphertext, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let (wrapped_key, ciphertext) = key.sealed.clone().unzip();
    let query = transaction.query(sql).bind(org).bind(key.id).bind(key.public.to_vec());
    query.bind(wrapped_key).bind(ciphertext).bind(now_us).execute().await?;
    Ok(())
}

async fn insert_signatures(
    transaction: &mut Transaction,
    org: Uuid,
    checkpoint: &CheckpointRow,
    now_us: i64,
) -> Result<(), StoreError> {
    for SignatureRow { key, bytes } in &checkpoint.signatures {
        let sql = "INSERT INTO ledger_checkpoints (org_id, size, key_id, root, signature, signed_at) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let query = transaction.query(sql).bind(org).bind(number(checkpoint.size)).bind(*key);
        query.bind(checkpoint.root.to_vec()).bind(bytes.as_slice()).bind(now_us).execute().await?;
    }
    Ok(())
}

/// Rows of the same size, which follow one another, are one checkpoint.
fn checkpoints(rows: Vec<SignedRow>) -> Result<Vec<CheckpointRow>, StoreError> {
    let mut found: Vec<CheckpointRow> = Vec::new();
    for SignedRow { size, root, key_id, signature } in rows {
        let size = u64::try_from(size).map_err(|_| StoreError::Corrupt("checkpoint"))?;
        let root = bytes32(&root, "checkpoint")?;
        let signature = SignatureRow { key: key_id, bytes: signature };
        match found.last_mut().filter(|last| last.size == size && last.root == root) {
            Some(same) => same.signatures.push(signature),
            None => found.push(CheckpointRow { size, root, signatures: vec![signature] }),
        }
    }
    Ok(found)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
