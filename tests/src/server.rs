//! The server under test, in the process of the tests.

use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::web;
use candor::accounts::{Role, SESSION_COOKIE};
use candor::app::App;
use candor::config::{Config, Say};
use candor::jobs;
use candor::server::{handlers, open, serve};
use candor_engine::generation::Generator;
use candor_engine::{Engine, Options};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use crate::database::Database;
use crate::{Browser, people};

/// A running server. Dropping it stops the server and removes its database.
pub struct TestApp {
    /// Where it listens, for instance `http://127.0.0.1:40123`.
    pub address: String,
    /// The test's own connections to the server's database.
    pub db: PgPool,
    /// The server's own state, for calling a slice's functions directly.
    pub state: web::Data<App>,
    database: Database,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

/// Starts a server with a database that holds the schema and one person per role.
pub async fn spawn() -> TestApp {
    spawn_with(|_| {}).await
}

/// Starts a server whose configuration is changed by `change`.
pub async fn spawn_with(change: impl FnOnce(&mut Config)) -> TestApp {
    start(change, None).await
}

/// Starts a server with this generative model.
pub async fn spawn_generating(generator: Arc<dyn Generator>) -> TestApp {
    start(|_| {}, Some(generator)).await
}

/// Starts a server whose assistant speaks in this model's words.
pub async fn spawn_speaking(generator: Arc<dyn Generator>) -> TestApp {
    start(|config| config.engine.say = Say::Generated, Some(generator)).await
}

async fn start(change: impl FnOnce(&mut Config), generator: Option<Arc<dyn Generator>>) -> TestApp {
    // The program does this in `main`; a second call only says that it was done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let database = Database::create().await;
    let db = PgPoolOptions::new().max_connections(3).connect_with(database.options()).await.unwrap();
    people::add_all(&db).await;

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut config = Config { listen: listener.local_addr().unwrap(), database_connections: 6, ..Config::default() };
    change(&mut config);
    let address = format!("http://{}", config.listen);

    let (ready, started) = mpsc::channel();
    let options = database.options();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let pool = PgPoolOptions::new().max_connections(config.database_connections).connect_lazy_with(options);
            let mut app = open(config, pool, engine()).await.unwrap();
            if let Some(generator) = generator {
                app.use_generator(generator);
            }
            let app = web::Data::new(app);
            let server = serve(app.clone(), listener, 1).unwrap();
            let worker = jobs::start(app.clone(), handlers());
            ready.send((server.handle(), app)).unwrap();
            server.await.unwrap();
            worker.stop(std::time::Duration::from_secs(5)).await;
        });
    });
    let (server, state) = tokio::task::spawn_blocking(move || started.recv().unwrap()).await.unwrap();
    TestApp { address, db, state, database, server, thread: Some(thread) }
}

/// The models, loaded once for all tests of a process.
fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::load(&Options::default()).expect("the models load")).clone()
}

impl TestApp {
    /// The whole address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Somebody who is not signed in, with cookies of their own.
    #[must_use]
    pub fn visitor(&self) -> Browser {
        Browser::new(&self.address, None, None)
    }

    /// The person of this role, signed in. The sign-in page itself takes [`TestApp::email`] and [`crate::PASSWORD`].
    pub async fn sign_in(&self, role: Role) -> Browser {
        let person: Uuid = sqlx::query_scalar("select id from people where lower(email) = $1")
            .bind(people::email(role))
            .fetch_one(&self.db)
            .await
            .unwrap();
        self.sign_in_as(person).await
    }

    /// Another person of this role, signed in: for everything that needs two.
    pub async fn sign_in_another(&self, role: Role, name: &str) -> Browser {
        let address = format!("{}@harbour.example", Uuid::now_v7().simple());
        let person = people::add(&self.db, role, name, &address).await;
        self.sign_in_as(person).await
    }

    async fn sign_in_as(&self, person: Uuid) -> Browser {
        let token = people::session(&self.db, person).await;
        Browser::new(&self.address, Some((SESSION_COOKIE, &token)), Some(person))
    }

    /// The address with which the person of this role signs in.
    #[must_use]
    pub fn email(&self, role: Role) -> String {
        people::email(role)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.state.live.close();
        let thread = self.thread.take();
        let server = self.server.clone();
        let database = &self.database;
        // A destructor can not wait within the test's runtime, so it waits on a thread with one of its own.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(server.stop(false));
                if let Some(thread) = thread {
                    let _ = thread.join();
                }
                runtime.block_on(database.drop());
            });
        });
    }
}
