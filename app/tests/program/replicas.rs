//! Two programs behind one address: one Postgres, one Redis.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candor::accounts::{NewPerson, Role, create_person};
use candor::audit::Actor;
use candor::db::embedded::Embedded;
use candor::limits::{Limiter, Quota};
use candor::live::presence::{Doing, Presence, Present};
use candor::live::{Event, Fanout};
use candor::replicas::Redis;
use candor::{limits, live};
use reqwest::{Client, StatusCode, redirect};
use serde_json::json;
use sqlx::PgPool;
use tempfile::TempDir;
use uuid::Uuid;

use crate::process::{Served, candor, free_port, serve_with};

const PASSWORD: &str = "correct horse battery";

/// A Redis of the test's own, killed when dropped.
struct RedisServer {
    child: Child,
    port: u16,
}

impl RedisServer {
    async fn start() -> Self {
        Self::start_on(free_port()).await
    }

    async fn start_on(port: u16) -> Self {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (see CONTRIBUTING.md)");
        let server = Self { child, port };
        let start = Instant::now();
        while Redis::connect(&server.url()).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "Redis starts");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two replicas and what they share.
struct Replicas {
    a: Served,
    b: Served,
    db: PgPool,
    _redis: RedisServer,
    _postgres: Embedded,
    _home: TempDir,
}

impl Replicas {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let postgres = Embedded::start(home.path(), |_| {}).await.unwrap();
        let db = PgPool::connect_with(postgres.options()).await.unwrap();
        let redis = RedisServer::start().await;
        let socket = postgres.options().get_socket().unwrap().display().to_string();
        let replica = || {
            let mut command = candor();
            command
                .env("DATABASE_URL", format!("postgres:///candor?user=candor&host={socket}"))
                .env("REDIS_URL", redis.url())
                .env("CANDOR_API_REQUESTS_PER_MINUTE", "10");
            serve_with(command)
        };
        Self { a: replica(), b: replica(), db, _redis: redis, _postgres: postgres, _home: home }
    }
}

fn browser() -> Client {
    Client::builder().cookie_store(true).redirect(redirect::Policy::none()).build().unwrap()
}

#[tokio::test]
async fn two_replicas_share_sessions_live_updates_and_rate_limits() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let replicas = Replicas::start().await;
    let new = NewPerson { email: "mia@bank.example", name: "Mia", role: Role::Agent, password: PASSWORD };
    create_person(&mut replicas.db.acquire().await.unwrap(), &Actor::System, new).await.unwrap();

    // Signed in at one, known at the other, signed out there, gone from both. Cookies do not know ports, as behind one
    // address.
    let (a, b) = (&replicas.a.address, &replicas.b.address);
    let client = browser();
    let form = [("email", "mia@bank.example"), ("password", PASSWORD)];
    let signed_in = client.post(format!("{a}/sign-in")).form(&form).send().await.unwrap();
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    let account = |address: &str| client.get(format!("{address}/account")).send();
    assert_eq!(account(b).await.unwrap().status(), StatusCode::OK);

    // What a customer writes at one is announced to the desk that looks at the other.
    let mut desk = client.get(format!("{b}/desk/events")).send().await.unwrap();
    assert_eq!(desk.status(), StatusCode::OK);
    let message = [("text", "I want to talk to a person")];
    let sent = browser().post(format!("{a}/chat/messages")).form(&message).send().await.unwrap();
    assert!(sent.status().is_redirection(), "{}", sent.status());
    let heard = tokio::time::timeout(Duration::from_secs(10), async {
        let mut heard = String::new();
        while !heard.contains("event: inbox") {
            let chunk = desk.chunk().await.unwrap().expect("the stream goes on");
            heard.push_str(&String::from_utf8_lossy(&chunk));
        }
    });
    heard.await.expect("the desk hears of it");
    drop(desk);

    assert_eq!(client.post(format!("{b}/sign-out")).send().await.unwrap().status(), StatusCode::SEE_OTHER);
    assert_eq!(account(a).await.unwrap().status(), StatusCode::UNAUTHORIZED);

    // Ten requests a minute are ten for both together.
    let mut passed = 0;
    for number in 0..24 {
        let address = if number % 2 == 0 { a } else { b };
        let answer = client.get(format!("{address}/api/v1/contacts")).send().await.unwrap();
        passed += u32::from(answer.status() != StatusCode::TOO_MANY_REQUESTS);
    }
    assert!((10..=12).contains(&passed), "{passed} of 24 requests passed where 10 a minute are allowed");
}

/// An event that says `kind`.
fn event(kind: &str) -> Event {
    Event { topic: live::INBOX.to_owned(), kind: kind.to_owned(), data: json!({ "n": 1 }) }
}

#[tokio::test]
async fn events_and_presence_reach_the_other_replica_once_and_survive_a_restart_of_redis() {
    let server = RedisServer::start().await;
    let (redis_a, redis_b) =
        (Redis::connect(&server.url()).await.unwrap(), Redis::connect(&server.url()).await.unwrap());
    let a = live::Shared::subscribe(redis_a.clone()).await.unwrap();
    let b = live::Shared::subscribe(redis_b.clone()).await.unwrap();
    let (mut at_a, mut at_b) = (a.subscribe(), b.subscribe());
    a.publish(event("first")).await;
    assert_eq!(at_b.recv().await.unwrap(), event("first"));
    b.publish(event("second")).await;
    assert_eq!(at_b.recv().await.unwrap(), event("second"));
    assert_eq!(at_a.recv().await.unwrap(), event("first"));
    assert_eq!(at_a.recv().await.unwrap(), event("second"));
    assert!(at_a.try_recv().is_err(), "an own event comes back only once");

    let (people_a, people_b) = (live::presence::Shared::new(redis_a.clone()), live::presence::Shared::new(redis_b));
    let mia = Present { person: Uuid::now_v7(), name: "Mia".to_owned(), doing: Doing::Replying };
    assert!(people_a.enter("conversation:1", mia.clone()).await);
    assert!(!people_b.enter("conversation:1", mia.clone()).await, "known through Redis");
    assert_eq!(people_b.at(&["conversation:1".to_owned(), "other".to_owned()]).await, [vec![mia.clone()], vec![]]);
    people_b.leave("conversation:1", mia.person).await;
    assert_eq!(people_a.at(&["conversation:1".to_owned()]).await, [vec![]]);

    // Redis dies: own browsers are still served, and limits still limit.
    let port = server.port;
    drop(server);
    a.publish(event("alone")).await;
    assert_eq!(at_a.recv().await.unwrap(), event("alone"));
    assert!(!redis_a.works());
    let limiter = limits::Shared::new(redis_a.clone());
    let quota = Quota::per_minute(2);
    let mut verdicts = Vec::new();
    for _ in 0..3 {
        verdicts.push(limiter.take("key", quota).await.allowed);
    }
    assert_eq!(verdicts, [true, true, false]);

    // Redis is back: streams end, so that browsers read everything again, and events cross over as before.
    let _server = RedisServer::start_on(port).await;
    while at_b.recv().await.is_ok() {}
    let mut at_b = b.subscribe();
    let start = Instant::now();
    loop {
        a.publish(event("again")).await;
        if let Ok(received) = tokio::time::timeout(Duration::from_millis(200), at_b.recv()).await {
            assert_eq!(received.unwrap(), event("again"));
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "events cross over again");
    }
    assert!(redis_a.works());
}
