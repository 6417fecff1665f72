//! Attention over caches, against the processor's.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::memory::Kind;
use super::{Probe, close, gpu, matrix, numbers, rope};
use crate::backend::cpu::Cpu;
use crate::backend::{Backend, Grouped, Latent};
use crate::models::causal::{BLOCK, Batch, Sequence};
use crate::weights::Stored;

/// Sequences with so many tokens in the cache already and so many new ones, in blocks that do not follow one another.
fn running(all: &[(usize, usize)]) -> (Batch, usize) {
    let small = |number: usize| u32::try_from(number).unwrap();
    let most = all.iter().map(|(done, new)| (done + new).div_ceil(BLOCK)).max().unwrap();
    let mut batch = Batch::default();
    for (number, &(done, new)) in all.iter().enumerate() {
        // Backwards, and interleaved with the others'.
        let block = |index: usize| (most - 1 - index) * all.len() + number;
        let start = batch.tokens.len();
        for position in done..done + new {
            batch.tokens.push(small(position % 50));
            batch.positions.push(small(position));
            batch.slots.push(small(block(position / BLOCK) * BLOCK + position % BLOCK));
        }
        batch.sequences.push(Sequence {
            tokens: start..start + new,
            context: done + new,
            blocks: (0..(done + new).div_ceil(BLOCK)).map(|index| small(block(index))).collect(),
            wants_logits: true,
            adapter: None,
        });
    }
    (batch, most * all.len())
}

/// The same sequences: first what is in their caches, in one step; then the new tokens.
fn before(all: &[(usize, usize)]) -> Option<Batch> {
    let (whole, _) = running(all);
    let mut first = Batch::default();
    let small = |number: usize| u32::try_from(number).unwrap();
    for (sequence, &(done, _)) in whole.sequences.iter().zip(all).filter(|(_, (done, _))| *done > 0) {
        let start = first.tokens.len();
        for position in 0..done {
            first.tokens.push(small(position % 50));
            first.positions.push(small(position));
            first.slots.push(sequence.blocks[position / BLOCK] * small(BLOCK) + small(position % BLOCK));
        }
        let blocks = sequence.blocks[..done.div_ceil(BLOCK)].to_vec();
        first.sequences.push(Sequence {
            tokens: start..start + done,
            context: done,
            blocks,
            wants_logits: true,
            adapter: None,
        });
    }
    (!first.tokens.is_empty()).then_some(first)
}

/// Steps that attention meets: prompts of different lengths, prompts that go on, and single tokens after short and long ones.
fn meetings() -> Vec<Vec<(usize, usize)>> {
    vec![
        vec![(0, 1)],
        vec![(0, 5), (0, 70), (0, 17)],
        vec![(30, 40), (0, 1), (100, 1)],
        vec![(15, 1)],
        vec![(700, 1)],
        vec![(63, 1), (64, 1), (200, 1), (0, 1), (16, 1)],
    ]
}

/// How near attention is: queries, weights of the mix, and caches of few numbers a token are kept in two planes.
fn bound_of(width: usize, batches: &[Batch]) -> f64 {
    let exact = width <= 512 && batches.iter().all(|batch| batch.tokens.len() <= 128);
    if exact { 2e-4 } else { 1e-2 }
}

#[test]
fn grouped_heads_attend_as_on_the_processor() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    for (heads, kv_heads, size, neighbours) in
        [(4, 2, 24, false), (32, 4, 128, false), (6, 2, 64, true), (20, 1, 32, false)]
    {
        let (q_norm, k_norm) = (numbers(&mut rng, size, 1.0), numbers(&mut rng, size, 1.0));
        let width = (heads + 2 * kv_heads) * size;
        for meeting in meetings() {
            let (batch, blocks) = running(&meeting);
            let n: usize = meeting.iter().map(|(done, new)| done + new).sum();
            let values = numbers(&mut rng, n * width, 1.0);
            let batches: Vec<Batch> = before(&meeting).into_iter().chain([batch]).collect();
            fn attend<B: Probe>(
                b: &B,
                rule: &Grouped<B::Vector>,
                (blocks, neighbours): (usize, bool),
                batches: &[Batch],
                values: &[f32],
            ) -> Vec<f32> {
                let (width, all) = ((rule.heads + 2 * rule.kv_heads) * rule.size, rule.heads * rule.size);
                let mut cache = b.cache(blocks, 2 * rule.kv_heads * rule.size).unwrap();
                let (mut found, mut from) = (Vec::new(), 0);
                for batch in batches {
                    let n = batch.tokens.len();
                    let mut step = b.step().unwrap();
                    b.begin(&mut step, batch, &rope(rule.size / 2, neighbours)).unwrap();
                    let (mut qkv, mut out) = (b.buffer(n, width).unwrap(), b.buffer(n, all).unwrap());
                    b.put(&mut qkv, &values[from * width..(from + n) * width]);
                    b.put(&mut out, &vec![f32::NAN; n * all]);
                    b.attend_grouped(&step, &mut qkv, rule, &mut cache, &mut out).unwrap();
                    found.extend(b.get(&mut out, n, all, true));
                    from += n;
                }
                found
            }
            fn rule<B: Backend>(b: &B, shape: (usize, usize, usize), q: &[f32], k: &[f32]) -> Grouped<B::Vector> {
                let (heads, kv_heads, size) = shape;
                let norms = (b.vector(q.to_vec()).unwrap(), b.vector(k.to_vec()).unwrap());
                Grouped { heads, kv_heads, size, norms, epsilon: 1e-6, scale: (size as f32).sqrt().recip() }
            }
            let shape = (heads, kv_heads, size);
            let on_gpu = rule(&gpu, shape, &q_norm, &k_norm);
            let on_cpu = rule(&cpu, shape, &q_norm, &k_norm);
            let found = attend(&gpu, &on_gpu, (blocks, neighbours), &batches, &values);
            let wanted = attend(&cpu, &on_cpu, (blocks, neighbours), &batches, &values);
            let bound = bound_of(2 * kv_heads * size, &batches);
            close(&format!("grouped {shape:?} {meeting:?}"), &found, &wanted, bound);
        }
    }
}

#[test]
fn latents_are_attended_to_as_on_the_processor() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    for (kind, heads, content, turned, value, rank) in [
        (Kind::Bf16, 4, 16, 8, 24, 32),
        (Kind::Bf16, 16, 128, 64, 128, 512),
        (Kind::Int8, 6, 32, 32, 64, 128),
        (Kind::Int4, 20, 64, 16, 32, 256),
        (Kind::Exact, 4, 16, 8, 24, 32),
    ] {
        let kv_b = matrix(&mut rng, kind, heads * (content + value), rank);
        let weight = numbers(&mut rng, rank, 1.0);
        let (of_q, of_kv) = (heads * (content + turned), 8 + rank + turned);
        for meeting in meetings() {
            let (batch, blocks) = running(&meeting);
            let batches: Vec<Batch> = before(&meeting).into_iter().chain([batch]).collect();
            let n: usize = meeting.iter().map(|(done, new)| done + new).sum();
            let (q, kv) = (numbers(&mut rng, n * of_q, 1.0), numbers(&mut rng, n * of_kv, 1.0));
            fn attend<B: Probe>(
                b: &B,
                kv_b: Stored,
                rule: &Latent<B::Vector>,
                (blocks, batches): (usize, &[Batch]),
                (q, kv): (&[f32], &[f32]),
            ) -> Vec<f32> {
                let (of_q, all) = (rule.heads * (rule.content + rule.turned), rule.heads * rule.value);
                let of_kv = rule.first + rule.rank + rule.turned;
                let kv_b = b.matrix(vec![kv_b], None).unwrap();
                let mut cache = b.cache(blocks, rule.rank + rule.turned).unwrap();
                let (mut found, mut from) = (Vec::new(), 0);
                for batch in batches {
                    let n = batch.tokens.len();
                    let mut step = b.step().unwrap();
                    b.begin(&mut step, batch, &rope(rule.turned / 2, true)).unwrap();
                    let (mut a, mut c) = (b.buffer(n, of_q).unwrap(), b.buffer(n, of_kv).unwrap());
                    let mut out = b.buffer(n, all).unwrap();
                    b.put(&mut a, &q[from * of_q..(from + n) * of_q]);
                    b.put(&mut c, &kv[from * of_kv..(from + n) * of_kv]);
                    b.put(&mut out, &vec![f32::NAN; n * all]);
                    b.attend_latent(&step, (&a, &c), &kv_b, rule, &mut cache, &mut out).unwrap();
                    found.extend(b.get(&mut out, n, all, true));
                    from += n;
                }
                found
            }
            fn rule<B: Backend>(b: &B, shape: [usize; 5], norm: &[f32]) -> Latent<B::Vector> {
                let [heads, content, turned, value, rank] = shape;
                let norm = b.vector(norm.to_vec()).unwrap();
                let scale = ((content + turned) as f32).sqrt().recip();
                Latent { heads, content, turned, value, rank, first: 8, norm, epsilon: 1e-6, scale }
            }
            let shape = [heads, content, turned, value, rank];
            let found = attend(&gpu, kv_b(), &rule(&gpu, shape, &weight), (blocks, &batches), (&q, &kv));
            let wanted = attend(&cpu, kv_b(), &rule(&cpu, shape, &weight), (blocks, &batches), (&q, &kv));
            let bound = bound_of(rank + turned, &batches);
            close(&format!("latent {kind:?} {shape:?} {meeting:?}"), &found, &wanted, bound);
        }
    }
}
