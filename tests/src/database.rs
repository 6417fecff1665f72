//! A database per test, copied from a template that holds the migrated schema.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use candor::db::embedded::{Embedded, EmbeddedError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// A database that is dropped at the end.
pub(crate) struct Database {
    pub(crate) name: String,
    server: PgConnectOptions,
}

impl Database {
    /// Creates a database with the current schema.
    pub(crate) async fn create() -> Self {
        let server = server().await;
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE.get_or_init(|| template(&server)).await;
        let name = format!("candor_test_{}", Uuid::now_v7().simple());
        let mut connection = connect(&server).await;
        create_from(&mut connection, &name, template).await;
        Self { name, server }
    }

    /// How to connect to it.
    pub(crate) fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    /// Removes it, with whatever is still connected.
    pub(crate) async fn drop(&self) {
        let mut connection = connect(&self.server).await;
        connection.execute(sqlx::AssertSqlSafe(format!("drop database {} with (force)", self.name))).await.unwrap();
    }
}

/// The server of `CANDOR_TEST_DATABASE`, else a private Postgres of this process.
async fn server() -> PgConnectOptions {
    if let Ok(url) = std::env::var("CANDOR_TEST_DATABASE") {
        return PgConnectOptions::from_str(&url).expect("CANDOR_TEST_DATABASE is a postgres:// address");
    }
    static EMBEDDED: OnceCell<Embedded> = OnceCell::const_new();
    EMBEDDED.get_or_init(embedded).await.options()
}

/// The private Postgres of the tests: kept from run to run, so that only the first one waits for it to be made. It
/// stops with this process.
async fn embedded() -> Embedded {
    let parent = std::env::temp_dir();
    for number in 1..100 {
        let home = parent.join(format!("candor-tests-{}-{number}", std::env::var("USER").unwrap_or_default()));
        match Embedded::start(&home, |_| {}).await {
            // Another run of the tests has it.
            Err(EmbeddedError::InUse { .. }) => {}
            started => return started.expect("a Postgres for the tests"),
        }
    }
    panic!("a hundred runs of the tests at once are too many");
}

async fn connect(server: &PgConnectOptions) -> PgConnection {
    server.clone().database("postgres").connect().await.expect("the test server answers")
}

/// The template for the present migrations: made once for each state of the schema, and kept for later runs.
async fn template(server: &PgConnectOptions) -> String {
    let mut hasher = DefaultHasher::new();
    for migration in candor::db::MIGRATIONS.iter() {
        (migration.version, &migration.checksum).hash(&mut hasher);
    }
    let name = format!("candor_template_{:016x}", hasher.finish());
    let mut connection = connect(server).await;
    // Other test processes wait here; the lock ends with the connection.
    connection.execute("select pg_advisory_lock(7241001)").await.unwrap();
    let exists: bool = sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    if !exists {
        // Made under another name first: a template that is there is complete.
        let draft = format!("{name}_draft");
        connection.execute(sqlx::AssertSqlSafe(format!("drop database if exists {draft} with (force)"))).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("create database {draft}"))).await.unwrap();
        let mut schema = server.clone().database(&draft).connect().await.unwrap();
        candor::db::MIGRATIONS.run(&mut schema).await.expect("migrations run");
        schema.close().await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("alter database {draft} rename to {name}"))).await.unwrap();
    }
    name
}

/// Copies the template. Postgres refuses while another copy is being made: then it is tried again.
async fn create_from(connection: &mut PgConnection, name: &str, template: &str) {
    for attempt in 0.. {
        match connection.execute(sqlx::AssertSqlSafe(format!("create database {name} template {template} "))).await {
            Ok(_) => return,
            Err(error) if attempt < 100 && error.to_string().contains("being accessed") => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("no test database: {error}"),
        }
    }
}
