//! Threads that share one operation at a time.
//!
//! An operation of a small model takes some microseconds, so that handing it out must take less than one: helpers spin
//! for a moment before they sleep, and whoever hands out works too and never waits for a helper that is still asleep.

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;

/// Turns of the loop that waits for work before a helper sleeps: some tens of microseconds.
const SPINS: usize = 20_000;

/// A caller's thread and its helpers.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

/// What is done with each number.
pub(crate) type Task<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    /// The operation at hand; valid while `open` and until `inside` is zero again.
    task: UnsafeCell<Option<*const Task<'static>>>,
    tasks: AtomicUsize,
    next: AtomicUsize,
    /// Helpers may take part.
    open: AtomicBool,
    /// Helpers that look at `task`.
    inside: AtomicUsize,
    asleep: AtomicUsize,
    stop: AtomicBool,
}

// SAFETY: `task` is written only by the one caller of `run` (it has `&mut`), before `open` is set and while no helper is
// inside; helpers read it only between entering (`inside`) with `open` seen set and leaving.
#[expect(
    unsafe_code,
    reason = "a task that borrows from the caller can not be sent to threads that outlive it otherwise"
)]
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer leads to a `Sync` closure.
#[expect(unsafe_code, reason = "see Sync")]
unsafe impl Send for Shared {}

impl Pool {
    /// A pool of `threads` threads in all; where the system gives fewer, fewer.
    #[must_use]
    pub(crate) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            task: UnsafeCell::new(None),
            tasks: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            open: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let helpers = (1..threads)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new().name(format!("candor-math-{number}")).spawn(move || shared.help()).ok()
            })
            .collect();
        Self { shared, helpers }
    }

    /// Threads that work on an operation.
    #[must_use]
    pub(crate) fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Calls `task` once with each number below `tasks`, in any order and on any thread, and returns when all are done.
    pub(crate) fn run(&mut self, tasks: usize, task: &Task<'_>) {
        if self.helpers.is_empty() || tasks <= 1 {
            (0..tasks).for_each(task);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime is erased. `task` is used by helpers only while they are `inside`, and this function
        // closes the door and waits until nobody is, before it returns.
        #[expect(unsafe_code, reason = "see above")]
        let erased = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(std::ptr::from_ref(task)) };
        // SAFETY: the door is closed and nobody is inside: no other thread looks at the cell.
        #[expect(unsafe_code, reason = "see above")]
        unsafe {
            *shared.task.get() = Some(erased);
        }
        shared.tasks.store(tasks, SeqCst);
        shared.next.store(0, SeqCst);
        shared.open.store(true, SeqCst);
        if shared.asleep.load(SeqCst) > 0 {
            self.helpers.iter().for_each(|helper| helper.thread().unpark());
        }
        // The door is closed and the helpers are waited for even when `task` panics.
        let _closing = Closing(shared);
        loop {
            let number = shared.next.fetch_add(1, SeqCst);
            if number >= tasks {
                break;
            }
            task(number);
        }
    }
}

/// Who works on an operation: a pool, or its caller alone.
pub(crate) struct Crew<'a>(Option<&'a mut Pool>);

impl<'a> Crew<'a> {
    /// The caller alone.
    #[must_use]
    pub(crate) fn alone() -> Self {
        Self(None)
    }

    /// The caller and a pool's helpers.
    #[must_use]
    pub(crate) fn of(pool: &'a mut Pool) -> Self {
        Self(Some(pool))
    }

    /// As [`Pool::run`].
    pub(crate) fn run(&mut self, tasks: usize, task: &Task<'_>) {
        match &mut self.0 {
            Some(pool) => pool.run(tasks, task),
            None => (0..tasks).for_each(task),
        }
    }
}

struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, SeqCst);
        let mut turns = 0usize;
        while self.0.inside.load(SeqCst) != 0 {
            turns += 1;
            if turns > SPINS { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

impl Shared {
    fn help(&self) {
        let mut turns = 0;
        while !self.stop.load(SeqCst) {
            if self.open.load(SeqCst) && self.next.load(SeqCst) < self.tasks.load(SeqCst) {
                self.take_part();
                turns = 0;
            } else if turns < SPINS {
                turns += 1;
                std::hint::spin_loop();
            } else {
                self.asleep.fetch_add(1, SeqCst);
                // Whoever opens the door after this look sees that somebody sleeps, and wakes them.
                if !self.open.load(SeqCst) && !self.stop.load(SeqCst) {
                    std::thread::park();
                }
                self.asleep.fetch_sub(1, SeqCst);
                turns = 0;
            }
        }
    }

    fn take_part(&self) {
        /// Leaves even when the task panics, so that the caller does not wait for ever.
        struct Leaving<'a>(&'a AtomicUsize);
        impl Drop for Leaving<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        self.inside.fetch_add(1, SeqCst);
        let _leaving = Leaving(&self.inside);
        if !self.open.load(SeqCst) {
            return;
        }
        // SAFETY: the door was seen open from inside, so the caller waits for us before the task ends or is replaced.
        #[expect(unsafe_code, reason = "see above")]
        let Some(task) = (unsafe { (*self.task.get()).map(|task| &*task) }) else { return };
        let tasks = self.tasks.load(SeqCst);
        loop {
            let number = self.next.fetch_add(1, SeqCst);
            if number >= tasks {
                break;
            }
            task(number);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for helper in self.helpers.drain(..) {
            helper.thread().unpark();
            let _ = helper.join();
        }
    }
}

/// Bytes a second that so many threads read together, from memory that is in no cache of the processor's.
#[must_use]
pub(crate) fn read_bandwidth(threads: usize) -> f64 {
    /// A thread's part; together more than processors cache.
    const WORDS: usize = 1 << 24;
    let memory = vec![1u64; WORDS * threads];
    let mut pool = Pool::new(threads);
    let total = AtomicUsize::new(0);
    let mut best = f64::INFINITY;
    for _ in 0..6 {
        let start = std::time::Instant::now();
        pool.run(threads, &|number| {
            let part = memory.get(number * WORDS..(number + 1) * WORDS).unwrap_or_default();
            let mut sums = [0u64; 32];
            for line in part.as_chunks::<32>().0 {
                sums.iter_mut().zip(line).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
            }
            total.fetch_add(usize::try_from(sums.iter().sum::<u64>()).unwrap_or_default(), SeqCst);
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    // The sum is used, so that reading can not be left out.
    if total.load(SeqCst) == 0 { 0.0 } else { (memory.len() * size_of::<u64>()) as f64 / best }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_before_run_returns() {
        let mut pool = Pool::new(3);
        for round in 0..3000usize {
            let tasks = round % 17;
            let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(tasks, &|number| {
                done[number].fetch_add(1, SeqCst);
            });
            assert!(done.iter().all(|count| count.load(SeqCst) == 1), "round {round}");
            if round % 1000 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        assert!(pool.threads() <= 3);
    }
}
