//! Sending messages and scoring applications over HTTP under load.
//!
//! ```text
//! cargo build --release -p candor && cargo run --release -p candor-tests --example load -- --clients 50 --seconds 30
//! ```
//!
//! With `--applications RATE` it submits applications only, and as many a second whatever the answers take: a request's time
//! counts from the moment at which it was due, so that a server that falls behind is not asked less.
//!
//! ```text
//! cargo run --release -p candor-tests --example load -- --applications 300 --seconds 60
//! ```
//!
//! Starts the built `candor` beside this program, with a private Postgres in a temporary folder, on the loopback
//! interface. Each client sends its next request when the answer to the last one is there. Prints one JSON line for each
//! kind of request; latencies are what the client sees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that fails has no result"
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candor::crm::{NewClient, create_client};
use candor::db::embedded::running_in;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;

const MESSAGES: [&str; 6] = [
    "I lost my card",
    "where is my transfer to Anna Winter?",
    "what are your opening hours?",
    "why was I charged 12.50 EUR by a shop I have never been to",
    "how do I change my address",
    "what does a card cost?",
];

/// Conversations of one client, so that they stay as short as people's.
const EACH: usize = 10;

/// The program under load; killed at the end.
struct Server {
    child: Child,
    address: String,
    home: TempDir,
}

impl Server {
    fn start() -> Self {
        let binary = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("candor");
        let home = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut child = Command::new(&binary)
            .args(["serve", "--empty"])
            .env_remove("DATABASE_URL")
            .env_remove("REDIS_URL")
            .env("CANDOR_HOME", home.path())
            .env("CANDOR_LISTEN", format!("127.0.0.1:{port}"))
            .env("CANDOR_API_REQUESTS_PER_MINUTE", "100000000")
            .env("CANDOR_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; build it first", binary.display()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("Candor is ready"));
        std::thread::spawn(move || lines.count());
        Self { child, address: format!("http://127.0.0.1:{port}"), home }
    }

    async fn database(&self) -> PgPool {
        PgPool::connect_with(running_in(&self.home.path().canonicalize().unwrap())).await.unwrap()
    }

    /// A client of the API with every right it needs, as an `Authorization` header.
    async fn authorization(&self, http: &Client) -> String {
        let db = self.database().await;
        let scopes = ["conversations:read", "conversations:write", "applications:read", "applications:write"];
        let NewClient { client_id, secret, .. } =
            create_client(&mut db.acquire().await.unwrap(), "Load", &scopes.map(str::to_owned), None).await.unwrap();
        let token: Value = http
            .post(format!("{}/api/v1/oauth/token", self.address))
            .basic_auth(client_id, Some(secret))
            .form(&[("grant_type", "client_credentials")])
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        format!("Bearer {}", token["access_token"].as_str().expect("a token"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn main() {
    let option = |name: &str, usual: u64| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
        arguments.next().map_or(usual, |value| value.parse().expect("a number"))
    };
    let (clients, span) = (option("--clients", 50), Duration::from_secs(option("--seconds", 30)));
    rustls::crypto::ring::default_provider().install_default().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let server = Server::start();
        let http = Client::builder().pool_max_idle_per_host(usize::MAX).build().unwrap();
        let authorization = server.authorization(&http).await;
        let api =
            |path: &str| http.post(format!("{}/api/v1/{path}", server.address)).header("authorization", &authorization);

        let rate = option("--applications", 0);
        if rate > 0 {
            // The first requests prepare statements and fill caches; they are not what is sustained. Nor is a database that
            // knows nothing of its tables: Postgres looks at them by itself after a minute, here it is asked to.
            at_rate("warm up", rate.min(50), Duration::from_secs(5), 9, &|client, round| {
                api("applications").json(&application(client, round))
            })
            .await;
            sqlx::query("analyze").execute(&server.database().await).await.unwrap();
            at_rate("submit an application", rate, span, 1, &|client, round| {
                api("applications").json(&application(client, round))
            })
            .await;
            return;
        }
        let mut conversations = Vec::new();
        for _ in 0..usize::try_from(clients).unwrap() * EACH {
            let started: Value = answer(api("conversations").json(&json!({ "text": "hello" }))).await;
            conversations.push(started["conversation"]["id"].as_str().expect("a conversation").to_owned());
        }
        measure("send a message", clients, span, |client, round| {
            let conversation = &conversations[client * EACH + round % EACH];
            let text = MESSAGES[(client + round) % MESSAGES.len()];
            api(&format!("conversations/{conversation}/messages")).json(&json!({ "text": text }))
        })
        .await;
        measure("submit an application", clients, span, |client, round| {
            api("applications").json(&application(client, round))
        })
        .await;
    });
}

/// Somebody new each time, so that the counts of devices and addresses stay those of real life.
fn application(client: usize, round: usize) -> Value {
    let number = client * 1_000_000 + round;
    json!({
        "applicant": {
            "name": format!("Ada Example{number}"),
            "email": format!("ada.example{number}@mail.example"),
            "phone": format!("+49151{number:08}"),
            "date_of_birth": format!("{}-{:02}-{:02}", 1950 + number % 55, number / 55 % 12 + 1, number / 660 % 28 + 1),
            "street": format!("Linden Street {}", number % 400 + 1),
            "city": "Berlin",
            "postcode": format!("1{:04}", number % 9000),
            "months_at_address": 40,
            "yearly_income_minor": 4_200_000,
        },
        "amount_minor": 1_200_000,
        "term_months": 48,
        "purpose": "car",
    })
}

/// The answer to a request that must succeed.
async fn answer(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert!(status.is_success(), "{status}: {body}");
    body
}

/// Sends `rate` requests a second for `span`, each when it is due, and prints how long after that its answer was there.
async fn at_rate(
    what: &str,
    rate: u64,
    span: Duration,
    client: usize,
    request: &impl Fn(usize, usize) -> RequestBuilder,
) {
    let start = Instant::now();
    let each = Duration::from_secs(1) / u32::try_from(rate).unwrap();
    let count = u32::try_from(rate * span.as_secs()).unwrap();
    let mut sent = Vec::new();
    for round in 0..count {
        let due = start + each * round;
        tokio::time::sleep_until(due.into()).await;
        let request = request(client, usize::try_from(round).unwrap());
        sent.push(tokio::spawn(async move {
            let response = request.send().await.unwrap();
            let done = response.status().is_success();
            let body = response.bytes().await.unwrap();
            if !done {
                eprintln!("{}", String::from_utf8_lossy(&body));
            }
            (due.elapsed(), done)
        }));
    }
    let mut times = Vec::new();
    let mut failed = 0_u32;
    for answer in sent {
        let (time, done) = answer.await.unwrap();
        if done {
            times.push(time);
        } else {
            failed += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 1000).min(times.len().saturating_sub(1)));
    let ms = |share| at(share).map(|time| time.as_secs_f64() * 1e3);
    println!(
        "{}",
        json!({
            "request": what, "rate": rate, "seconds": span.as_secs(), "done": times.len(), "failed": failed,
            "per_second": f64::from(u32::try_from(times.len()).unwrap()) / seconds,
            "p50_ms": ms(500), "p90_ms": ms(900), "p99_ms": ms(990), "worst_ms": ms(1000),
        })
    );
}

/// Lets every client send one request after the other for `span`, and prints what they saw.
async fn measure(what: &str, clients: u64, span: Duration, request: impl Fn(usize, usize) -> RequestBuilder) {
    let start = Instant::now();
    let client = async |client: usize| {
        let (mut times, mut failed) = (Vec::new(), 0_u32);
        for round in 0.. {
            if start.elapsed() >= span {
                break;
            }
            let begin = Instant::now();
            let response = request(client, round).send().await.unwrap();
            let done = response.status().is_success();
            let body = response.bytes().await.unwrap();
            if done {
                times.push(begin.elapsed());
            } else {
                if failed == 0 {
                    eprintln!("{}", String::from_utf8_lossy(&body));
                }
                failed += 1;
            }
        }
        (times, failed)
    };
    let all = futures::future::join_all((0..usize::try_from(clients).unwrap()).map(client)).await;
    let failed: u32 = all.iter().map(|(_, failed)| failed).sum();
    let mut times: Vec<_> = all.into_iter().flat_map(|(times, _)| times).collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 1000).min(times.len().saturating_sub(1)));
    let ms = |share| at(share).map(|time| time.as_secs_f64() * 1e3);
    println!(
        "{}",
        json!({
            "request": what, "clients": clients, "seconds": span.as_secs(), "done": times.len(), "failed": failed,
            "per_second": f64::from(u32::try_from(times.len()).unwrap()) / start.elapsed().as_secs_f64(),
            "p50_ms": ms(500), "p99_ms": ms(990), "worst_ms": ms(1000),
        })
    );
}
