//! Every operation of the GPU against the processor's, on inputs drawn anew each time; and whole models against
//! `transformers`. Without a GPU they say that they were skipped; `CANDOR_GPU_TESTS=1` makes that an error.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::Cuda;
use super::memory::{Held, Kind};
use crate::backend::cpu::Cpu;
use crate::backend::{Adapter, Backend, Gated, Rope, Routing, Scoring};
use crate::models::causal::{AdapterId, BLOCK, Batch, Sequence};
use crate::weights::random::RandomFormat;
use crate::weights::stored::Format;
use crate::weights::{Bytes, Stored};

mod attention;
mod models;

/// The GPU, or a word that the test was skipped.
fn gpu() -> Option<Cuda> {
    match Cuda::open() {
        Ok(gpu) => Some(gpu),
        Err(lack) => {
            assert!(std::env::var_os("CANDOR_GPU_TESTS").is_none(), "{lack}");
            println!("skipped: {lack}");
            None
        }
    }
}

/// Reads and writes buffers, for tests.
trait Probe: Backend {
    /// Fills the first rows of a buffer.
    fn put(&self, buffer: &mut Self::Buffer, values: &[f32]);
    /// The first numbers, as products read them (`planes`) or as everybody else does.
    fn get(&self, buffer: &mut Self::Buffer, n: usize, width: usize, planes: bool) -> Vec<f32>;
}

impl Probe for Cpu {
    fn put(&self, buffer: &mut Self::Buffer, values: &[f32]) {
        buffer.values_mut()[..values.len()].copy_from_slice(values);
    }

    fn get(&self, buffer: &mut Self::Buffer, n: usize, width: usize, _: bool) -> Vec<f32> {
        buffer.values_mut()[..n * width].to_vec()
    }
}

impl Probe for Cuda {
    fn put(&self, buffer: &mut Self::Buffer, values: &[f32]) {
        buffer.held.set(Held::Here);
        let mut view = buffer.values.slice_mut(..values.len());
        self.stream.memcpy_htod(values, &mut view).unwrap();
        let (pitch, low) = (buffer.pitch, buffer.rows * buffer.pitch);
        let mut planes = vec![0u16; buffer.planes.len()];
        for (row, line) in values.chunks(buffer.width).enumerate() {
            for (column, value) in line.iter().enumerate() {
                let high = super::memory::half(*value);
                planes[row * pitch + column] = high;
                planes[low + row * pitch + column] = super::memory::half(value - single(high));
            }
        }
        self.stream.memcpy_htod(&planes, &mut buffer.planes).unwrap();
        self.stream.synchronize().unwrap();
    }

    fn get(&self, buffer: &mut Self::Buffer, n: usize, width: usize, planes: bool) -> Vec<f32> {
        self.settle_norm(n, buffer).unwrap();
        if planes {
            let all = self.stream.clone_dtoh(&buffer.planes).unwrap();
            self.stream.synchronize().unwrap();
            let low = buffer.rows * buffer.pitch;
            let at = |row: usize, column: usize| row * buffer.pitch + column;
            let places = (0..n).flat_map(|row| (0..width).map(move |column| at(row, column)));
            return places.map(|place| single(all[place]) + single(all[low + place])).collect();
        }
        let Held::Parts(parts) = buffer.held.get() else {
            let all = self.stream.clone_dtoh(&buffer.values).unwrap();
            self.stream.synchronize().unwrap();
            return all[..n * width].to_vec();
        };
        let all = self.stream.clone_dtoh(self.work.borrow().parts.as_ref().unwrap()).unwrap();
        self.stream.synchronize().unwrap();
        // Tokens that fill a step up have a place too.
        let rows = if n <= 32 { n.next_power_of_two() } else { n };
        (0..n * width).map(|place| (0..parts).map(|part| all[part * rows * width + place]).sum()).collect()
    }
}

fn single(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// Numbers of at most 8 bits of fraction, so that both sides begin with the same.
fn numbers(rng: &mut StdRng, count: usize, size: f32) -> Vec<f32> {
    (0..count).map(|_| single(super::memory::half((rng.random::<f32>() - 0.5) * 3.4 * size))).collect()
}

fn matrix(rng: &mut StdRng, kind: Kind, rows: usize, columns: usize) -> impl Fn() -> Stored + use<> {
    let size = (columns as f32).sqrt().recip();
    let (codes, values) = match kind {
        Kind::Bf16 => (Vec::new(), numbers(rng, rows * columns, size)),
        Kind::Exact => (Vec::new(), (0..rows * columns).map(|_| (rng.random::<f32>() - 0.5) * 3.4 * size).collect()),
        Kind::Int8 => ((0..rows * columns).map(|_| rng.random()).collect(), vec![]),
        Kind::Int4 => ((0..rows * columns / 2).map(|_| rng.random()).collect(), vec![]),
    };
    let scales: Vec<f32> = match kind {
        Kind::Int4 => (0..rows * columns / 128).map(|_| size / 4.6 * (0.5 + rng.random::<f32>())).collect(),
        _ => (0..rows).map(|_| size / 74.0 * (0.5 + rng.random::<f32>())).collect(),
    };
    let zeros: Vec<u8> = (0..rows * columns / 128).map(|_| rng.random_range(0..16)).collect();
    move || {
        let bytes = || Bytes::Made(codes.clone().into());
        let format = match kind {
            Kind::Bf16 => Format::Bf16(Bytes::Made(
                values.iter().flat_map(|value| super::memory::half(*value).to_le_bytes()).collect::<Vec<u8>>().into(),
            )),
            Kind::Exact => Format::F32(Bytes::Made(
                values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
            )),
            Kind::Int8 => Format::I8 { codes: bytes(), scales: scales.clone() },
            Kind::Int4 => Format::I4 { codes: bytes(), scales: scales.clone(), zeros: zeros.clone() },
        };
        Stored { rows, columns, format }
    }
}

/// How far `found` is from `wanted`, over the size of `wanted`.
fn error(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = found.iter().zip(wanted).map(|(f, w)| square(f - w)).sum();
    let size: f64 = wanted.iter().map(|w| square(*w)).sum();
    assert!(size > 0.0, "there is something to compare");
    (off / size).sqrt()
}

#[track_caller]
fn close(what: &str, found: &[f32], wanted: &[f32], bound: f64) {
    let error = error(found, wanted);
    println!("{what}: {error:.1e}");
    assert!(error < bound, "{what}: {error:.2e} is not below {bound:.0e}");
}

/// Tokens of one sequence, for operations that do not look at sequences.
fn tokens(n: usize) -> Batch {
    let small = |number: usize| u32::try_from(number).unwrap();
    if n <= 32 {
        return singles(n);
    }
    Batch {
        tokens: (0..n).map(|i| small(i * 7 % 50)).collect(),
        positions: (0..n).map(small).collect(),
        slots: (0..n).map(small).collect(),
        sequences: vec![Sequence {
            tokens: 0..n,
            context: n,
            blocks: (0..n.div_ceil(BLOCK)).map(small).collect(),
            wants_logits: true,
            adapter: None,
        }],
    }
}

/// So many sequences of one token.
fn singles(n: usize) -> Batch {
    let small = |number: usize| u32::try_from(number).unwrap();
    let sequence =
        |i| Sequence { tokens: i..i + 1, context: 1, blocks: vec![small(i)], wants_logits: i % 3 != 1, adapter: None };
    Batch {
        tokens: (0..n).map(|i| small(i * 7 % 50)).collect(),
        positions: vec![0; n],
        slots: (0..n).map(|i| small(i * BLOCK)).collect(),
        sequences: (0..n).map(sequence).collect(),
    }
}

fn rope(pairs: usize, neighbours: bool) -> Rope {
    let frequencies = (0..pairs).map(|pair| 10_000f32.powf(-(pair as f32) / pairs as f32)).collect();
    Rope { frequencies, magnitude: 1.1, neighbours }
}

const COUNTS: [usize; 8] = [1, 2, 3, 8, 9, 20, 33, 300];

#[test]
fn tokens_are_embedded_and_normalised() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    for (kind, width) in [(Kind::Bf16, 192), (Kind::Int8, 72), (Kind::Int4, 2048)] {
        let table = matrix(&mut rng, kind, 50, width);
        let (weight, added) = (numbers(&mut rng, width - 8, 1.0), numbers(&mut rng, 300 * width, 1.0));
        for n in COUNTS {
            fn run<B: Probe>(b: &B, table: Stored, weight: &[f32], added: &[f32], n: usize) -> [Vec<f32>; 3] {
                let width = table.columns;
                let mut step = b.step().unwrap();
                b.begin(&mut step, &tokens(n), &rope(4, true)).unwrap();
                let (mut x, mut add, mut out) =
                    (b.buffer(n, width).unwrap(), b.buffer(n, width).unwrap(), b.buffer(n, weight.len()).unwrap());
                b.embed(&step, &b.matrix(vec![table], None).unwrap(), &mut x).unwrap();
                let embedded = b.get(&mut x, n, width, false);
                b.put(&mut add, &added[..n * width]);
                let weight = b.vector(weight.to_vec()).unwrap();
                b.norm(&step, &mut x, Some(&add), (&weight, 1e-5), &mut out).unwrap();
                let count = width - 8;
                [embedded, b.get(&mut out, n, count, true), b.get(&mut x, n, width, false)]
            }
            let (found, wanted) = (run(&gpu, table(), &weight, &added, n), run(&cpu, table(), &weight, &added, n));
            for (what, i) in [("embed", 0), ("norm", 1)] {
                close(&format!("{what} {kind:?} {n}"), &found[i], &wanted[i], 1e-4);
            }
            // Only the columns that are normalised are added to, on the GPU.
            let columns = |all: &[f32]| all.chunks(width).flat_map(|row| row[..width - 8].to_vec()).collect::<Vec<_>>();
            close("sum", &columns(&found[2]), &columns(&wanted[2]), 1e-6);
        }
    }
}

#[test]
fn linear_maps_are_those_of_the_processor() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    let all = [
        (Kind::Bf16, 40, 48),
        (Kind::Bf16, 272, 2048),
        (Kind::Int8, 72, 96),
        (Kind::Int8, 100, 1408),
        (Kind::Int4, 88, 128),
        (Kind::Int4, 128, 2048),
        (Kind::Exact, 272, 1000),
    ];
    for (kind, rows, columns) in all {
        let weights = [matrix(&mut rng, kind, rows, columns), matrix(&mut rng, kind, 24, columns)];
        let (bias, x) = (numbers(&mut rng, rows + 24, 1.0), numbers(&mut rng, 300 * columns, 1.0));
        for n in COUNTS {
            fn run<B: Probe>(b: &B, parts: Vec<Stored>, bias: &[f32], x: &[f32], n: usize) -> Vec<f32> {
                let columns = parts[0].columns;
                let mut step = b.step().unwrap();
                b.begin(&mut step, &tokens(n), &rope(4, true)).unwrap();
                let (mut from, mut out) = (b.buffer(n, columns).unwrap(), b.buffer(n, bias.len() + 3).unwrap());
                b.put(&mut from, &x[..n * columns]);
                b.put(&mut out, &vec![f32::NAN; n * (bias.len() + 3)]);
                let matrix = b.matrix(parts, Some(bias.to_vec())).unwrap();
                b.linear(&step, &from, &matrix, &mut out).unwrap();
                let all = b.get(&mut out, n, bias.len() + 3, false);
                all.chunks(bias.len() + 3).flat_map(|row| row[..bias.len()].to_vec()).collect()
            }
            let parts = || weights.iter().map(|weight| weight()).collect();
            let (found, wanted) = (run(&gpu, parts(), &bias, &x, n), run(&cpu, parts(), &bias, &x, n));
            close(&format!("linear {kind:?} {rows}x{columns} {n}"), &found, &wanted, if n > 128 { 5e-3 } else { 1e-4 });
        }
    }
}

#[test]
fn adapters_add_to_those_who_ask() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    let (down, up) = (matrix(&mut rng, Kind::Bf16, 6, 72), matrix(&mut rng, Kind::Bf16, 40, 6));
    let (x, before) = (numbers(&mut rng, 9 * 72, 1.0), numbers(&mut rng, 9 * 60, 1.0));
    let mut batch = singles(9);
    batch.sequences[2].adapter = Some(AdapterId(3));
    batch.sequences[5].adapter = Some(AdapterId(4));
    fn run<B: Probe>(b: &B, (down, up): (Stored, Stored), x: &[f32], before: &[f32], batch: &Batch) -> Vec<f32> {
        let mut step = b.step().unwrap();
        b.begin(&mut step, batch, &rope(4, true)).unwrap();
        let (mut from, mut out) = (b.buffer(9, 72).unwrap(), b.buffer(9, 60).unwrap());
        b.put(&mut from, x);
        b.put(&mut out, before);
        let (down, up) = (b.matrix(vec![down], None).unwrap(), b.matrix(vec![up], None).unwrap());
        let adapter = Adapter { id: AdapterId(3), down, up, scale: 2.0, first: 13 };
        b.adapt(&step, &from, &[adapter], &mut out).unwrap();
        b.get(&mut out, 9, 60, false)
    }
    let found = run(&gpu, (down(), up()), &x, &before, &batch);
    let wanted = run(&cpu, (down(), up()), &x, &before, &batch);
    close("adapters", &found, &wanted, 1e-4);
    assert!(error(&found[2 * 60..3 * 60], &before[2 * 60..3 * 60]) > 0.1);
    assert_eq!(found[5 * 60..6 * 60], before[5 * 60..6 * 60]);
}

type Weights = Box<dyn Fn() -> Stored>;

fn gated<B: Backend>(b: &B, block: &[Weights; 3]) -> Gated<B::Matrix> {
    let [gate, up, down] = block.each_ref().map(|weight| b.matrix(vec![weight()], None).unwrap());
    Gated { gate, up, down }
}

#[test]
fn experts_are_chosen_and_run_as_on_the_processor() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    let rule = |experts, chosen, groups, scoring, normalised| Routing {
        experts,
        chosen,
        groups,
        scoring,
        normalised,
        factor: 1.5,
    };
    let all = [
        (Kind::Bf16, Kind::Bf16, 64, (32, 96), rule(8, 3, (1, 1), Scoring::Softmax, true)),
        (Kind::Bf16, Kind::Bf16, 512, (192, 0), rule(128, 8, (1, 1), Scoring::Softmax, true)),
        (Kind::Int8, Kind::Int8, 384, (256, 256), rule(16, 4, (4, 2), Scoring::Sigmoid, true)),
        (Kind::Int4, Kind::Bf16, 256, (128, 192), rule(12, 2, (3, 2), Scoring::Softmax, false)),
        (Kind::Int4, Kind::Int4, 2048, (256, 0), rule(32, 6, (1, 1), Scoring::Sigmoid, false)),
        // No experts to choose from: a dense layer.
        (Kind::Exact, Kind::Exact, 512, (192, 96), rule(16, 4, (1, 1), Scoring::Softmax, true)),
        (Kind::Bf16, Kind::Bf16, 2048, (768, 0), rule(16, 8, (1, 1), Scoring::Softmax, true)),
        (Kind::Bf16, Kind::Bf16, 128, (0, 1344), rule(0, 0, (1, 1), Scoring::Softmax, false)),
    ];
    for (kind, of_shared, width, (inner, shared), rule) in all {
        let block = |rng: &mut StdRng, kind, inner| -> [Weights; 3] {
            [
                Box::new(matrix(rng, kind, inner, width)),
                Box::new(matrix(rng, kind, inner, width)),
                Box::new(matrix(rng, kind, width, inner)),
            ]
        };
        let experts: Vec<_> = (0..rule.experts).map(|_| block(&mut rng, kind, inner)).collect();
        let shared = (shared > 0).then(|| block(&mut rng, of_shared, shared));
        let gate = matrix(&mut rng, Kind::Bf16, rule.experts, width);
        let bias = (rule.scoring == Scoring::Sigmoid).then(|| numbers(&mut rng, rule.experts, 0.2));
        let x = numbers(&mut rng, 300 * width, 1.0);
        fn run<B: Probe>(
            b: &B,
            (rule, bias, gate): (&Routing, Option<&[f32]>, &dyn Fn() -> Stored),
            (experts, shared): (&[[Weights; 3]], Option<&[Weights; 3]>),
            x: &[f32],
            counts: &[usize],
        ) -> Vec<(Vec<f32>, Vec<u64>)> {
            let width = x.len() / 300;
            let of_gpu: Vec<_> = experts.iter().map(|block| gated(b, block)).collect();
            let shared = shared.map(|block| gated(b, block));
            let mut router =
                (rule.experts > 0).then(|| b.router(gate(), bias.map(<[f32]>::to_vec), rule.clone()).unwrap());
            let mut choices = b.choices(rule.chosen).unwrap();
            let mut found = Vec::new();
            for &n in counts {
                let mut step = b.step().unwrap();
                b.begin(&mut step, &tokens(n), &rope(4, true)).unwrap();
                let (mut from, mut out) = (b.buffer(n, width).unwrap(), b.buffer(n, width).unwrap());
                b.put(&mut from, &x[..n * width]);
                match &mut router {
                    Some(router) => {
                        b.route(&step, &from, router, &mut choices).unwrap();
                        b.feed_forward(&step, &from, Some((&choices, &of_gpu)), shared.as_ref(), &mut out).unwrap();
                    }
                    None => b.feed_forward(&step, &from, None, shared.as_ref(), &mut out).unwrap(),
                }
                let load = router.as_ref().map(|router| b.load(router)).unwrap_or_default();
                found.push((b.get(&mut out, n, width, false), load));
            }
            found
        }
        let what = (&rule, bias.as_deref(), &gate as &dyn Fn() -> Stored);
        let blocks = (experts.as_slice(), shared.as_ref());
        let (found, wanted) = (run(&gpu, what, blocks, &x, &COUNTS), run(&cpu, what, blocks, &x, &COUNTS));
        for ((n, found), wanted) in COUNTS.iter().zip(found).zip(wanted) {
            let bound = if *n > 128 { 1e-2 } else { 2e-4 };
            assert_eq!(found.1, wanted.1, "{kind:?} {rule:?} {n}: loads");
            close(&format!("experts {kind:?} {width} {inner} {n}"), &found.0, &wanted.0, bound);
        }
    }
}

/// Norms and sums that of few tokens are parts of the products around them.
#[test]
fn layers_are_those_of_the_processor() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    let all = [
        (Kind::Bf16, 192, 96, 0),
        (Kind::Bf16, 1024, 768, 0),
        (Kind::Int8, 384, 256, 128),
        (Kind::Int4, 1024, 768, 0),
        (Kind::Exact, 136, 64, 72),
    ];
    for (kind, width, inner, shared) in all {
        let rule = Routing {
            experts: 12,
            chosen: 3,
            groups: (1, 1),
            scoring: Scoring::Softmax,
            normalised: true,
            factor: 1.0,
        };
        let [before, after] = [width, 40].map(|rows| matrix(&mut rng, kind, rows, width));
        let block = |rng: &mut StdRng, inner| -> [Weights; 3] {
            [
                Box::new(matrix(rng, kind, inner, width)),
                Box::new(matrix(rng, kind, inner, width)),
                Box::new(matrix(rng, kind, width, inner)),
            ]
        };
        let experts: Vec<_> = (0..rule.experts).map(|_| block(&mut rng, inner)).collect();
        let shared = (shared > 0).then(|| block(&mut rng, shared));
        let gate = matrix(&mut rng, Kind::Bf16, rule.experts, width);
        let weight = numbers(&mut rng, width, 1.0);
        let (x, y) = (numbers(&mut rng, 300 * width, 2.0), numbers(&mut rng, 300 * width, 1.0));
        struct Weighed<'a> {
            maps: [Stored; 2],
            gate: Stored,
            rule: Routing,
            experts: &'a [[Weights; 3]],
            shared: Option<&'a [Weights; 3]>,
            weight: &'a [f32],
        }
        fn run<B: Probe>(b: &B, all: Weighed<'_>, x: &[f32], y: &[f32], n: usize) -> [Vec<f32>; 3] {
            let width = all.weight.len();
            let [before, after] = all.maps.map(|map| b.matrix(vec![map], None).unwrap());
            let experts: Vec<_> = all.experts.iter().map(|block| gated(b, block)).collect();
            let shared = all.shared.map(|block| gated(b, block));
            let mut router = b.router(all.gate, None, all.rule).unwrap();
            let (mut choices, weight) = (b.choices(3).unwrap(), b.vector(all.weight.to_vec()).unwrap());
            let [mut stream, mut said, mut normed] = [(); 3].map(|()| b.buffer(n, width).unwrap());
            let mut out = b.buffer(n, 40).unwrap();
            let mut step = b.step().unwrap();
            b.begin(&mut step, &tokens(n), &rope(4, true)).unwrap();
            b.put(&mut stream, &x[..n * width]);
            b.put(&mut normed, &y[..n * width]);
            b.linear(&step, &normed, &before, &mut said).unwrap();
            b.norm(&step, &mut stream, Some(&said), (&weight, 1e-6), &mut normed).unwrap();
            b.linear(&step, &normed, &after, &mut out).unwrap();
            let mapped = b.get(&mut out, n, 40, false);
            b.route(&step, &normed, &mut router, &mut choices).unwrap();
            b.feed_forward(&step, &normed, Some((&choices, &experts)), shared.as_ref(), &mut said).unwrap();
            b.norm(&step, &mut stream, Some(&said), (&weight, 1e-6), &mut normed).unwrap();
            let last = b.get(&mut normed, n, width, true);
            [mapped, last, b.get(&mut stream, n, width, false)]
        }
        // Of many tokens, codes become bfloat16 on their way, which may send a token to other experts.
        let most = if matches!(kind, Kind::Int8 | Kind::Int4) { 128 } else { usize::MAX };
        for n in COUNTS.into_iter().filter(|n| *n <= most) {
            let weighed = || Weighed {
                maps: [before(), after()],
                gate: gate(),
                rule: rule.clone(),
                experts: &experts,
                shared: shared.as_ref(),
                weight: &weight,
            };
            let (found, wanted) = (run(&gpu, weighed(), &x, &y, n), run(&cpu, weighed(), &x, &y, n));
            for (what, found, wanted) in ["map", "norm", "stream"]
                .into_iter()
                .zip(found)
                .zip(wanted)
                .map(|((what, found), wanted)| (what, found, wanted))
            {
                let bound = if n > 128 { 1e-2 } else { 2e-4 };
                close(&format!("layer {kind:?} {width} {n}: {what}"), &found, &wanted, bound);
            }
        }
    }
}

#[test]
fn logits_and_likeliest_tokens_are_those_of_the_processor() {
    let Some(gpu) = gpu() else { return };
    let (cpu, mut rng) = (Cpu::new(2, false), StdRng::from_os_rng());
    let (width, vocabulary) = (192, 1003);
    let head = matrix(&mut rng, Kind::Bf16, vocabulary, width);
    let (weight, x, add) =
        (numbers(&mut rng, width, 1.0), numbers(&mut rng, 300 * width, 1.0), numbers(&mut rng, 300 * width, 1.0));
    for n in COUNTS {
        fn run<B: Probe>(
            b: &B,
            head: Stored,
            weight: &[f32],
            x: &[f32],
            add: &[f32],
            n: usize,
        ) -> (Vec<f32>, Vec<u32>) {
            let width = weight.len();
            let head = b.matrix(vec![head], None).unwrap();
            let weight = b.vector(weight.to_vec()).unwrap();
            let (mut from, mut more) = (b.buffer(n, width).unwrap(), b.buffer(n, width).unwrap());
            b.put(&mut from, &x[..n * width]);
            b.put(&mut more, &add[..n * width]);
            let (mut logits, mut best) = (Vec::new(), Vec::new());
            // Often enough that the step is recorded and replayed.
            let mut step = b.step().unwrap();
            for _ in 0..4 {
                b.begin(&mut step, &tokens(n), &rope(4, true)).unwrap();
                b.logits(&mut step, (&from, &more), (&weight, 1e-6), &head, &mut logits).unwrap();
                b.begin(&mut step, &tokens(n), &rope(4, true)).unwrap();
                b.likeliest(&mut step, (&from, &more), (&weight, 1e-6), &head, &mut best).unwrap();
            }
            (logits, best)
        }
        let (found, wanted) = (run(&gpu, head(), &weight, &x, &add, n), run(&cpu, head(), &weight, &x, &add, n));
        close(&format!("logits {n}"), &found.0, &wanted.0, if n > 128 { 5e-3 } else { 1e-4 });
        // Of those that are nearly as likely another may be.
        let same = found.1.iter().zip(&wanted.1).filter(|(found, wanted)| found == wanted).count();
        assert!(found.1.len() == wanted.1.len() && same * 10 >= 8 * wanted.1.len(), "{:?} {:?}", found.1, wanted.1);
        let mut own = Vec::new();
        crate::models::causal::likeliest(&found.0, vocabulary, &mut own);
        assert_eq!(found.1, own, "the likeliest are those of its own logits");
    }
}

#[test]
fn weights_are_drawn_as_on_the_processor() {
    let Some(gpu) = gpu() else { return };
    for (kind, columns) in [(RandomFormat::Bf16, 192), (RandomFormat::Int8, 200), (RandomFormat::Int4, 256)] {
        let stored = || Stored { rows: 7, columns, format: Format::Drawn { kind, size: 0.03, seed: 99 } };
        let table = gpu.matrix(vec![stored()], None).unwrap();
        let mut step = gpu.step().unwrap();
        let batch = Batch { tokens: vec![0, 3, 6], ..singles(3) };
        gpu.begin(&mut step, &batch, &rope(4, true)).unwrap();
        let mut out = gpu.buffer(4, columns).unwrap();
        gpu.embed(&step, &table, &mut out).unwrap();
        let found = gpu.get(&mut out, 3, columns, false);
        for (row, found) in [0, 3, 6].into_iter().zip(found.chunks(columns)) {
            let mut wanted = vec![0.0; columns];
            stored().row(row, &mut wanted);
            close(&format!("{kind:?}"), found, &wanted, 1e-6);
        }
    }
}
