//! The cache's blocks: who holds them, and which of them still hold what another sequence needs.
//!
//! A block that is full is known by what it holds: the tokens of the block and, through its parent, of everything before it.
//! Whoever begins with the same tokens takes the block over instead of computing it again. The parent is named by a number
//! that is given out once for one content, so a match is exact; nothing rests on hashes not colliding.
//! Blocks that nobody holds stay known until they are needed, the longest unused first.

use std::collections::{BTreeMap, HashMap};

use crate::models::causal::{AdapterId, BLOCK};

/// What a sequence's blocks hold up to a point; equal numbers mean equal tokens from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Content(u64);

impl Content {
    /// The beginning of every sequence that is computed with this adapter.
    pub(crate) fn beginning(adapter: Option<AdapterId>) -> Self {
        Self(adapter.map_or(0, |adapter| u64::from(adapter.0) + 1))
    }
}

/// The first number that is not a beginning.
const FIRST: u64 = 1 << 33;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    parent: Content,
    tokens: [u32; BLOCK],
}

#[derive(Debug, Default)]
struct Block {
    holders: u32,
    known_as: Option<Key>,
    /// When it was last let go, where nobody holds it.
    idle_since: u64,
}

/// All blocks of one cache.
#[derive(Debug)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    /// Blocks that hold nothing worth knowing.
    empty: Vec<u32>,
    /// Known blocks that nobody holds, the longest unused first.
    idle: BTreeMap<u64, u32>,
    known: HashMap<Key, (u32, Content)>,
    next: u64,
    clock: u64,
}

impl Blocks {
    /// A cache of so many blocks, all empty.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            blocks: (0..count).map(|_| Block::default()).collect(),
            empty: (0..count).rev().collect(),
            idle: BTreeMap::new(),
            known: HashMap::new(),
            next: FIRST,
            clock: 0,
        }
    }

    /// Blocks in all.
    pub(crate) fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that can be taken.
    pub(crate) fn available(&self) -> usize {
        self.empty.len() + self.idle.len()
    }

    /// Takes a block, forgetting what it holds.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let number = match self.empty.pop() {
            Some(number) => number,
            None => self.idle.pop_first()?.1,
        };
        let block = self.block(number)?;
        block.holders = 1;
        if let Some(key) = block.known_as.take() {
            self.known.remove(&key);
        }
        Some(number)
    }

    /// Takes over the block that holds `tokens` after `parent`, where there is one.
    pub(crate) fn find(&mut self, parent: Content, tokens: [u32; BLOCK]) -> Option<(u32, Content)> {
        let (number, content) = *self.known.get(&Key { parent, tokens })?;
        let block = self.block(number)?;
        block.holders += 1;
        if block.holders == 1 {
            let since = block.idle_since;
            self.idle.remove(&since);
        }
        Some((number, content))
    }

    /// Makes known what a full block holds. Where another block holds the same, that one stays the known one.
    pub(crate) fn learn(&mut self, number: u32, parent: Content, tokens: [u32; BLOCK]) -> Content {
        let key = Key { parent, tokens };
        if let Some((_, content)) = self.known.get(&key) {
            return *content;
        }
        let content = Content(self.next);
        self.next += 1;
        if let Some(block) = self.block(number) {
            block.known_as = Some(key.clone());
            self.known.insert(key, (number, content));
        }
        content
    }

    /// Lets go of a block.
    pub(crate) fn release(&mut self, number: u32) {
        self.clock += 1;
        let clock = self.clock;
        let Some(block) = self.block(number) else { return };
        block.holders = block.holders.saturating_sub(1);
        if block.holders > 0 {
            return;
        }
        if block.known_as.is_some() {
            block.idle_since = clock;
            self.idle.insert(clock, number);
        } else {
            self.empty.push(number);
        }
    }

    /// Forgets what all blocks hold; those that are held stay held.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.blocks.iter_mut().for_each(|block| block.known_as = None);
        self.empty.extend(std::mem::take(&mut self.idle).into_values());
    }

    fn block(&mut self, number: u32) -> Option<&mut Block> {
        self.blocks.get_mut(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Content = Content(0);

    fn tokens(of: u32) -> [u32; BLOCK] {
        [of; BLOCK]
    }

    #[test]
    fn a_block_is_found_by_everything_before_it_and_only_by_that() {
        let mut blocks = Blocks::new(4);
        let first = blocks.take().unwrap();
        let one = blocks.learn(first, START, tokens(1));
        let second = blocks.take().unwrap();
        let two = blocks.learn(second, one, tokens(2));
        assert_eq!(blocks.find(START, tokens(2)), None);
        assert_eq!(blocks.find(Content::beginning(Some(AdapterId(0))), tokens(1)), None);
        assert_eq!(blocks.find(START, tokens(1)), Some((first, one)));
        assert_eq!(blocks.find(one, tokens(2)), Some((second, two)));
        assert_eq!(blocks.available(), 2);
    }

    #[test]
    fn idle_blocks_are_kept_until_needed_the_longest_unused_first() {
        let mut blocks = Blocks::new(2);
        let (a, b) = (blocks.take().unwrap(), blocks.take().unwrap());
        let one = blocks.learn(a, START, tokens(1));
        blocks.learn(b, one, tokens(2));
        assert_eq!(blocks.take(), None);
        // The end of a sequence is let go before its beginning.
        blocks.release(b);
        blocks.release(a);
        assert_eq!(blocks.available(), 2);
        assert_eq!(blocks.take(), Some(b));
        assert!(blocks.find(one, tokens(2)).is_none());
        assert_eq!(blocks.find(START, tokens(1)).unwrap().0, a);
        assert_eq!(blocks.take(), None);
    }

    #[test]
    fn a_shared_block_is_free_when_the_last_lets_go_and_twins_keep_one_name() {
        let mut blocks = Blocks::new(3);
        let a = blocks.take().unwrap();
        let content = blocks.learn(a, START, tokens(1));
        blocks.find(START, tokens(1)).unwrap();
        let twin = blocks.take().unwrap();
        assert_eq!(blocks.learn(twin, START, tokens(1)), content);
        blocks.release(a);
        assert_eq!(blocks.available(), 1);
        blocks.release(a);
        blocks.release(twin);
        assert_eq!(blocks.available(), 3);
        blocks.forget();
        assert_eq!((blocks.available(), blocks.find(START, tokens(1))), (3, None));
    }
}
