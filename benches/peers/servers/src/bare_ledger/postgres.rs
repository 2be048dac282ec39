//! Rows to PostgreSQL: one statement a table and batch, all of them sent before the first answer is waited for.

use anyhow::{Result, ensure};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use super::{ACTOR, AGENT, BATCH, HASH, ORG, Row, TASK, TOOL, WRAPPED_KEY, Waiting};

/// The tables and indexes that Lictor writes to for a decision.
const TABLES: &str = include_str!("../../../../../server/migrations/postgres/0001_the_first_tables.sql");

const ENTRIES: &str = "INSERT INTO entries (org_id, seq, entry_id, canonical, hash, prev_hash, kind, source, agent_id, task, \
     actor, action, outcome, risk, at) \
     SELECT $1, seq, id, canonical, $2, $2, 'action', '/api/v1/decisions', $3, $4, $5, $6, outcome, 0, seq \
     FROM unnest($7::bigint[], $8::uuid[], $9::bytea[], $10::text[]) AS new (seq, id, canonical, outcome)";
const PAYLOADS: &str = "INSERT INTO payloads (org_id, entry_id, wrapped_key, ciphertext) \
     SELECT $1, id, $2, payload FROM unnest($3::uuid[], $4::bytea[]) AS new (id, payload)";
const HEAD: &str = "UPDATE heads SET next_seq = $1, hash = $2, at = $1 WHERE org_id = $3";

pub async fn open(address: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
    tokio::spawn(async { connection.await.expect("PostgreSQL goes on") });
    let row = client
        .query_one("SELECT current_setting('fsync'), current_setting('synchronous_commit')", &[])
        .await?;
    ensure!((row.get(0), row.get(1)) == ("on", "on"), "PostgreSQL does not wait for the disk");
    client.batch_execute(TABLES).await?;
    let org = Uuid::from_bytes(ORG);
    client.execute("INSERT INTO orgs VALUES ($1, 'acme', 0)", &[&org]).await?;
    client.execute("INSERT INTO heads VALUES ($1, 0, $2, 0)", &[&org, &HASH.as_slice()]).await?;
    Ok(client)
}

pub async fn write_all(mut client: Client, mut waiting: Waiting) -> Result<()> {
    let statements =
        [client.prepare(ENTRIES).await?, client.prepare(PAYLOADS).await?, client.prepare(HEAD).await?];
    let mut seq = 0_i64;
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        write(&mut client, &statements, seq, batch.iter().map(|(row, _)| row)).await?;
        seq += i64::try_from(batch.len())?;
        for (_, done) in batch.drain(..) {
            // Who asked may have left.
            let _ = done.send(());
        }
    }
    Ok(())
}

async fn write(
    client: &mut Client,
    [entries, payloads, head]: &[Statement; 3],
    first: i64,
    rows: impl Iterator<Item = &Row>,
) -> Result<()> {
    let (mut seqs, mut ids, mut canonicals, mut outcomes, mut bodies) =
        (vec![], vec![], vec![], vec![], vec![]);
    for (seq, row) in (first..).zip(rows) {
        let id = Row::id(seq);
        seqs.push(seq);
        ids.push(Uuid::from_bytes(id));
        canonicals.push(row.canonical(id));
        outcomes.push(row.decision);
        bodies.push(row.payload());
    }
    let next = first + i64::try_from(seqs.len())?;
    let (org, agent, hash, key) =
        (Uuid::from_bytes(ORG), Uuid::from_bytes(AGENT), HASH.as_slice(), WRAPPED_KEY.as_slice());
    let entry: [&(dyn ToSql + Sync); 10] =
        [&org, &hash, &agent, &TASK, &ACTOR, &TOOL, &seqs, &ids, &canonicals, &outcomes];
    let payload: [&(dyn ToSql + Sync); 4] = [&org, &key, &ids, &bodies];
    let after: [&(dyn ToSql + Sync); 3] = [&next, &hash, &org];
    let transaction = client.transaction().await?;
    tokio::try_join!(
        transaction.execute(entries, &entry),
        transaction.execute(payloads, &payload),
        transaction.execute(head, &after),
    )?;
    transaction.commit().await?;
    Ok(())
}
