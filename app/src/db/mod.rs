//! Postgres: the pool and the migrations.

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;

/// All migrations, compiled in. Forward only.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Opens the pool and brings the schema up to date.
///
/// # Errors
/// When the database can not be reached or a migration fails.
pub async fn open(url: &str, connections: u32) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(connections).connect(url).await?;
    MIGRATIONS.run(&pool).await.map_err(|error| sqlx::Error::Migrate(Box::new(error)))?;
    Ok(pool)
}
