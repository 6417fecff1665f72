//! The private Postgres under the worst that can happen to it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::process::{candor, database, postmaster, serve, signal};

/// Writers that note what was acknowledged.
struct Writers {
    acknowledged: Arc<Mutex<HashSet<i64>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(db: &PgPool) -> Self {
        let (acknowledged, stop) = (Arc::new(Mutex::new(HashSet::new())), Arc::new(AtomicBool::new(false)));
        let tasks = (0..4).map(|_| {
            let (db, acknowledged, stop) = (db.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let written: Result<i64, _> =
                        sqlx::query_scalar("insert into jobs (kind, payload) values ('test', '{}') returning id")
                            .fetch_one(&db)
                            .await;
                    match written {
                        Ok(id) => drop(acknowledged.lock().unwrap().insert(id)),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Self { acknowledged, stop, tasks }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until `more` further writes were acknowledged.
    async fn progress(&self, more: usize) {
        let (start, from) = (Instant::now(), self.count());
        while self.count() < from + more {
            assert!(start.elapsed() < Duration::from_secs(60), "writes go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> HashSet<i64> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.acknowledged.lock().unwrap())
    }
}

/// Every acknowledged write is there.
async fn assert_kept(home: &Path, acknowledged: &HashSet<i64>) {
    let db = database(home).await;
    let kept: Vec<i64> = sqlx::query_scalar("select id from jobs").fetch_all(&db).await.unwrap();
    let kept: HashSet<i64> = kept.into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged writes were lost", lost.len(), acknowledged.len());
}

#[tokio::test]
async fn no_acknowledged_write_is_lost_when_the_program_or_postgres_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for _ in 0..2 {
        // The program is killed.
        let served = serve(home.path());
        let writers = Writers::start(&database(home.path()).await);
        writers.progress(200).await;
        served.kill();
        acknowledged.extend(writers.stop().await);

        // Postgres is killed; the program starts it again, and writes go on.
        let served = serve(home.path());
        assert_kept(home.path(), &acknowledged).await;
        let writers = Writers::start(&database(home.path()).await);
        writers.progress(200).await;
        signal(postmaster(home.path()), "KILL");
        writers.progress(200).await;
        acknowledged.extend(writers.stop().await);
        assert_kept(home.path(), &acknowledged).await;

        // Both are killed at the same time.
        let writers = Writers::start(&database(home.path()).await);
        writers.progress(200).await;
        signal(postmaster(home.path()), "KILL");
        served.kill();
        acknowledged.extend(writers.stop().await);
    }
    let served = serve(home.path());
    assert_kept(home.path(), &acknowledged).await;
    assert!(served.stop().success());
}

#[tokio::test]
async fn postgres_ends_with_the_program_and_a_second_start_is_quick() {
    let home = tempfile::tempdir().unwrap();
    let served = serve(home.path());
    let pid = postmaster(home.path());
    let runs = || Path::new(&format!("/proc/{pid}")).exists();
    assert!(runs());
    assert!(served.stop().success());
    assert!(!runs(), "a clean stop waits for Postgres");

    let served = serve(home.path());
    println!("second start: {:.2} s", served.took.as_secs_f64());
    let pid = postmaster(home.path());
    served.kill();
    let start = Instant::now();
    while Path::new(&format!("/proc/{pid}")).exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "Postgres outlived the program");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_process_number_that_now_belongs_to_somebody_else_does_not_stop_the_start() {
    let home = tempfile::tempdir().unwrap();
    assert!(serve(home.path()).stop().success());
    let versions = std::fs::read_dir(home.path().join("postgres")).unwrap();
    let data = versions.flatten().map(|entry| entry.path().join("data")).find(|data| data.exists()).unwrap();
    // What a killed run leaves in a container, where numbers are soon used again: here the number of this test.
    let stale = format!("{}\n{}\n1700000000\n5432\n\n\n", std::process::id(), data.display());
    std::fs::write(data.join("postmaster.pid"), stale).unwrap();
    std::fs::write(home.path().join("run/.s.PGSQL.5432.lock"), format!("{}\n", std::process::id())).unwrap();
    assert!(serve(home.path()).stop().success());
}

#[tokio::test]
async fn a_second_program_on_the_same_home_is_refused_in_a_sentence() {
    let home = tempfile::tempdir().unwrap();
    let served = serve(home.path());
    let second = candor().env("CANDOR_HOME", home.path()).env("CANDOR_LISTEN", "127.0.0.1:0").output().unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8(second.stderr).unwrap();
    let expected = format!("is in use by another candor (process {})", served.child.id());
    assert!(words.contains(&expected), "{words}");
    assert!(served.stop().success());
}
