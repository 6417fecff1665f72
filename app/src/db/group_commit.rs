//! Commits that wait for the disk together.
//!
//! Who appends to the audit log holds the end of its chain until the transaction ends, and the longest part of ending is
//! the wait for the disk: a few milliseconds in which nobody else may append. So these transactions end without that wait
//! (`synchronous_commit = off`), which frees the chain at once, and the caller is answered only when a later commit has
//! forced the log to the disk: one wait serves everybody who came before it. Postgres writes its log in order, so whatever
//! is on the disk has everything that it was built on. After a crash there is nothing that was answered and is missing,
//! and nothing is half there.

use std::ops::{Deref, DerefMut};

use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::{mpsc, oneshot};

use crate::{AppError, Result};

type Waiter = oneshot::Sender<std::result::Result<(), String>>;

/// Commits transactions together. Cheap to clone.
#[derive(Clone)]
pub struct GroupCommit {
    db: PgPool,
    waiters: mpsc::UnboundedSender<Waiter>,
}

impl GroupCommit {
    /// Starts the task that forces the log, on the current runtime. It ends with the last clone.
    #[must_use]
    pub fn start(db: PgPool) -> Self {
        let (waiters, waiting) = mpsc::unbounded_channel();
        tokio::spawn(force(db.clone(), waiting));
        Self { db, waiters }
    }

    /// Begins a transaction that [`GroupCommit::commit`] ends. That it will not wait for the disk by itself is said in the
    /// step that begins it: while the end of the audit log is held, every step counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Together> {
        let transaction = self.db.begin_with("begin; set local synchronous_commit = off").await?;
        Ok(Together { transaction })
    }

    /// Commits. When this returns, the transaction is on the disk.
    ///
    /// # Errors
    /// When the database fails; the transaction may be kept all the same, as with any commit whose answer is lost.
    pub async fn commit(&self, together: Together) -> Result<()> {
        together.transaction.commit().await?;
        let (told, done) = oneshot::channel();
        let gone = || AppError::Unavailable("The database is being closed.".to_owned());
        self.waiters.send(told).map_err(|_| gone())?;
        done.await.map_err(|_| gone())?.map_err(AppError::Unavailable)
    }
}

/// An open transaction that is committed together with others. Dropped, it leaves nothing.
pub struct Together {
    transaction: Transaction<'static, Postgres>,
}

impl Deref for Together {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for Together {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

/// Forces the log again and again while somebody waits. Who comes while it is being forced waits for the next time: their
/// commit may be behind what is on its way.
async fn force(db: PgPool, mut waiting: mpsc::UnboundedReceiver<Waiter>) {
    let mut together = Vec::new();
    while waiting.recv_many(&mut together, usize::MAX).await > 0 {
        let done = force_once(&db).await.map_err(|error| {
            tracing::error!(%error, "the database's log could not be forced to the disk");
            "The database did not confirm that it is kept. Please look whether it was, before you send it again."
                .to_owned()
        });
        for waiter in together.drain(..) {
            let _ = waiter.send(done.clone());
        }
    }
}

/// A transaction that writes a word into the log and ends with the wait for the disk.
async fn force_once(db: &PgPool) -> std::result::Result<(), sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_logical_emit_message(true, 'candor', '')::text as "at""#)
        .fetch_one(db)
        .await
        .map(drop)
}
