//! Work on a table's blocks by several threads, written in the order of the table.

use std::io::{Write, stdout};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::table::{Block, Table};

/// Where the next block comes from.
struct Source {
    table: Table,
    /// A block that was read before the work began.
    ready: Option<Block>,
    next: u64,
    ended: bool,
}

/// Where it goes to.
struct Sink {
    /// The block whose turn it is.
    next: u64,
    failure: Option<Failure>,
    stopped: bool,
    progress: Progress,
}

struct Line {
    source: Mutex<Source>,
    sink: Mutex<Sink>,
    turn: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets each of the workers take block after block of the table (`first` was read already) and append lines to a
/// buffer, and writes the buffers to standard output in the order of the blocks, saying on standard error how far it has
/// come. Memory holds one block and its lines for each worker. After a failure nothing more is written than what the failing worker had
/// written before.
pub(super) fn in_order<W>(table: Table, first: Block, workers: Vec<W>) -> Result<(), Failure>
where
    W: FnMut(&Block, &mut Vec<u8>) -> Result<(), Failure> + Send,
{
    let line = Line {
        source: Mutex::new(Source { table, ready: Some(first), next: 0, ended: false }),
        sink: Mutex::new(Sink { next: 0, failure: None, stopped: false, progress: Progress::new() }),
        turn: Condvar::new(),
    };
    thread::scope(|scope| {
        for worker in workers {
            scope.spawn(|| line.work(worker));
        }
    });
    let sink = line.sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    match sink.failure {
        Some(failure) => Err(failure),
        None => {
            sink.progress.finish();
            Ok(())
        }
    }
}

impl Line {
    fn work(&self, mut worker: impl FnMut(&Block, &mut Vec<u8>) -> Result<(), Failure>) {
        let _stop = StopOnPanic(self);
        let (mut block, mut lines) = (Block::new(), Vec::new());
        loop {
            let (number, share, read) = {
                let mut source = lock(&self.source);
                if source.ended {
                    return;
                }
                let read = match source.ready.take() {
                    Some(ready) => {
                        block = ready;
                        Ok(())
                    }
                    None => source.table.read(&mut block),
                };
                source.ended = read.is_err() || block.rows() == 0;
                if read.is_ok() && source.ended {
                    return;
                }
                source.next += 1;
                (source.next - 1, source.table.share(), read)
            };
            lines.clear();
            let done = read.and_then(|()| worker(&block, &mut lines));
            let mut sink = lock(&self.sink);
            while sink.next != number && !sink.stopped {
                sink = self.turn.wait(sink).unwrap_or_else(PoisonError::into_inner);
            }
            if sink.stopped {
                return;
            }
            let written = stdout().write_all(&lines).map_err(Failure::from);
            match written.and(done) {
                Ok(()) => sink.progress.add(block.rows(), share),
                Err(failure) => {
                    sink.failure = Some(failure);
                    sink.stopped = true;
                }
            }
            sink.next += 1;
            self.turn.notify_all();
        }
    }
}

/// A worker that panics would leave the others waiting for its turn.
struct StopOnPanic<'l>(&'l Line);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.sink).stopped = true;
            self.0.turn.notify_all();
        }
    }
}

/// Says on standard error how far a long run has come.
struct Progress {
    rows: usize,
    start: Instant,
    said: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { rows: 0, start: Instant::now(), said: Instant::now() }
    }

    fn add(&mut self, rows: usize, share: Option<f64>) {
        self.rows += rows;
        if self.said.elapsed() > Duration::from_secs(2) {
            self.said = Instant::now();
            let share = share.map_or_else(String::new, |share| format!(" ({:.0} %)", share.min(1.0) * 100.0));
            eprintln!("{} rows{share} in {:.0} s", self.rows, self.start.elapsed().as_secs_f64());
        }
    }

    /// Short runs need no summary.
    fn finish(&self) {
        if self.start.elapsed() > Duration::from_secs(2) {
            eprintln!("{} rows in {:.1} s", self.rows, self.start.elapsed().as_secs_f64());
        }
    }
}
