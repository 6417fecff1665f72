//! A queue that is fair between callers: whoever had the least service is next (the virtual token counter of Sheng et al.
//! 2024, *Fairness in Serving Large Language Models*).
//!
//! Service is counted in tokens, a generated one twice. A caller who comes back does not have the time it was away
//! to its credit: it starts where the least served of those who are here stands.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Debug, Default)]
struct Caller {
    waiting: VecDeque<u64>,
    running: usize,
    service: u64,
}

/// Who waits, and how much each caller had.
#[derive(Debug, Default)]
pub(crate) struct Fair {
    callers: HashMap<Arc<str>, Caller>,
    /// Where somebody starts when nobody else is here.
    floor: u64,
}

impl Fair {
    /// Sequences that wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.callers.values().map(|caller| caller.waiting.len()).sum()
    }

    /// A new sequence waits.
    pub(crate) fn push(&mut self, name: &Arc<str>, sequence: u64) {
        let least = self.callers.values().map(|caller| caller.service).min();
        let start = least.unwrap_or(self.floor);
        let caller = self.callers.entry(Arc::clone(name)).or_insert(Caller { service: start, ..Caller::default() });
        caller.waiting.push_back(sequence);
    }

    /// The sequence that is next, which keeps waiting. Of callers with equal service, the one with the fewest running.
    pub(crate) fn peek(&self) -> Option<u64> {
        let next = |caller: &Caller| Some((caller.service, caller.running, *caller.waiting.front()?));
        self.callers.values().filter_map(next).min().map(|(_, _, sequence)| sequence)
    }

    /// The first of this caller's sequences waits no longer: it runs.
    pub(crate) fn start(&mut self, name: &str) {
        if let Some(caller) = self.callers.get_mut(name)
            && caller.waiting.pop_front().is_some()
        {
            caller.running += 1;
        }
    }

    /// A running sequence waits again, before the caller's others.
    pub(crate) fn put_back(&mut self, name: &str, sequence: u64) {
        if let Some(caller) = self.callers.get_mut(name) {
            caller.running = caller.running.saturating_sub(1);
            caller.waiting.push_front(sequence);
        }
    }

    /// A running sequence has ended.
    pub(crate) fn end(&mut self, name: &str) {
        if let Some(caller) = self.callers.get_mut(name) {
            caller.running = caller.running.saturating_sub(1);
        }
        self.leave(name);
    }

    /// A waiting sequence gives up.
    pub(crate) fn remove(&mut self, name: &str, sequence: u64) {
        if let Some(caller) = self.callers.get_mut(name) {
            caller.waiting.retain(|&waiting| waiting != sequence);
        }
        self.leave(name);
    }

    /// Counts service.
    pub(crate) fn charge(&mut self, name: &str, tokens: u64) {
        if let Some(caller) = self.callers.get_mut(name) {
            caller.service = caller.service.saturating_add(tokens);
        }
    }

    /// Sequences of this caller that run.
    pub(crate) fn running(&self, name: &str) -> usize {
        self.callers.get(name).map_or(0, |caller| caller.running)
    }

    fn leave(&mut self, name: &str) {
        let gone = self.callers.get(name).is_some_and(|caller| caller.waiting.is_empty() && caller.running == 0);
        if let Some(caller) = gone.then(|| self.callers.remove(name)).flatten() {
            self.floor = self.floor.max(caller.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_served_is_next_and_absence_earns_nothing() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut fair = Fair::default();
        (0..3).for_each(|sequence| fair.push(&a, sequence));
        fair.start("a");
        fair.charge("a", 100);
        fair.push(&b, 10);
        fair.push(&b, 11);
        // Both stand at 100; the one of whom nothing runs is first.
        assert_eq!(fair.peek(), Some(10));
        fair.start("b");
        fair.charge("b", 5);
        assert_eq!(fair.peek(), Some(1));
        fair.start("a");
        fair.charge("a", 10);
        assert_eq!(fair.peek(), Some(11));
        fair.put_back("b", 10);
        assert_eq!((fair.peek(), fair.len(), fair.running("a")), (Some(10), 3, 2));
        fair.remove("b", 10);
        assert_eq!(fair.peek(), Some(11));
    }

    #[test]
    fn whoever_was_alone_leaves_the_bar_where_it_was() {
        let a: Arc<str> = "a".into();
        let mut fair = Fair::default();
        fair.push(&a, 1);
        fair.start("a");
        fair.charge("a", 70);
        fair.end("a");
        fair.push(&"b".into(), 2);
        fair.push(&a, 3);
        fair.charge("b", 1);
        assert_eq!((fair.peek(), fair.len()), (Some(3), 2));
    }
}
