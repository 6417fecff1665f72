//! The encoder of understanding on a GPU: the same answers as [`MoeEncoder`]'s, for as many texts as wait.
//!
//! Texts lie end to end, nothing is padded. A batch of up to [`RECORDED`] tokens is one launch: its kernels, recorded once for
//! each power of two, ask the GPU how many tokens there really are. Larger ones are launched kernel by kernel.
//!
//! [`MoeEncoder`]: crate::models::moe_encoder::MoeEncoder

mod arranged;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::sys::{CU_MEMHOSTALLOC_DEVICEMAP, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, DriverError, PinnedHostSlice};
use cudarc::nvrtc::Ptx;

use super::launch::{Shape, launch};
use super::step::Graph;
use super::{Cuda, Lack, Pointer, device_failed, int, library};
use crate::models::causal::ForwardError;
use crate::models::moe_encoder::{Config, Encoded};
use crate::weights::Tensors;
use arranged::{Arranged, EXPERTS, GROUPS, Matrices, WIDTH};

/// Tokens of a batch that is one launch.
const RECORDED: usize = 4096;
/// The smallest batch that is recorded.
const LEAST: usize = 32;
/// Numbers before those of the tokens: how many tokens and texts there are.
const HEAD: usize = 4;

/// How many rows a block takes, and what else follows from that: a `Form` of `encoder.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    name: &'static str,
    rows: usize,
    threads: usize,
    /// Bytes of shared memory: the rows, and slabs on their way.
    shared: usize,
}

const fn form(name: &'static str, rows: usize, threads: usize, slabs: usize) -> Form {
    Form { name, rows, threads, shared: 2 * (rows * (WIDTH + 8) + slabs * 16 * WIDTH) }
}

const FEW: Form = form("few", 32, 384, 6);
const MANY: Form = form("many", 64, 256, 4);

/// A product's addresses: `Map` of `encoder.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Map {
    slabs: Pointer,
    scales: Pointer,
    bias: Pointer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Norm {
    weight: Pointer,
    bias: Pointer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Texts {
    counts: Pointer,
    tokens: Pointer,
    starts: Pointer,
    ends: Pointer,
    firsts: Pointer,
    capacity: i32,
    unused: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Origin {
    words: Pointer,
    scales: Pointer,
    places: Pointer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Branches {
    x: Pointer,
    says: Pointer,
    bias: Pointer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Router {
    weight: Pointer,
    bias: Pointer,
    sharpness: Pointer,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Lists {
    counts: Pointer,
    tokens: Pointer,
    gates: Pointer,
}

/// A layer's weights, by where they are.
struct Layer {
    qkv: Map,
    out: Map,
    after_attention: Norm,
    router: Router,
    up: Map,
    down_scales: Pointer,
    down_bias: Pointer,
    after_experts: Norm,
}

/// Memory that addresses point to.
type Kept = (Vec<CudaSlice<u16>>, Vec<CudaSlice<f32>>, Vec<CudaSlice<u32>>);

/// The encoder's weights on the GPU.
struct Weights {
    origin: Origin,
    norm: Norm,
    layers: Vec<Layer>,
    _kept: Kept,
}

/// Memory of a batch.
struct Room {
    /// Tokens, and texts, that there is room for.
    tokens: usize,
    texts: usize,
    batch: CudaSlice<i32>,
    /// What a layer begins with, and what its attention leaves.
    x: CudaSlice<u16>,
    attended: CudaSlice<u16>,
    qkv: CudaSlice<u16>,
    says: CudaSlice<u16>,
    listed: CudaSlice<i32>,
    gates: CudaSlice<f32>,
    /// Tokens of each layer's experts; zero between batches.
    counts: CudaSlice<u32>,
    /// Memory of the machine: what becomes `batch`, and where the GPU writes what it found.
    asked: PinnedHostSlice<i32>,
    found: PinnedHostSlice<f32>,
}

/// The encoder on the first GPU.
pub(crate) struct Encoder {
    cuda: Cuda,
    weights: Weights,
    vocabulary: usize,
    longest: usize,
    epsilon: f32,
    room: Room,
    recorded: HashMap<usize, Graph>,
    host: Vec<i32>,
    /// The form that all batches take, to compare forms.
    fixed: Option<Form>,
}

/// Why the encoder does not run on a GPU.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoGpu {
    /// Something is missing.
    #[error(transparent)]
    Lack(#[from] Lack),
    /// The kernels are made for one shape.
    #[error("the encoder has a shape that the kernels are not made for")]
    Shape,
    /// The weights can not be read.
    #[error(transparent)]
    Weights(#[from] crate::weights::Error),
    /// The GPU has no room for it, or fails.
    #[error(transparent)]
    Device(#[from] ForwardError),
}

impl Encoder {
    /// Tokens that go through the GPU together; more go one part after the other.
    pub(crate) const MOST: usize = 1 << 16;

    /// Brings the weights to the GPU and records small batches.
    ///
    /// # Errors
    /// [`NoGpu`] saying what is missing.
    pub(crate) fn open(config: &Config, tensors: &Tensors) -> Result<Self, NoGpu> {
        if let Some(lack) = Cuda::lack() {
            return Err(lack.into());
        }
        if !arranged::fits(config) {
            return Err(NoGpu::Shape);
        }
        let arranged = Arranged::read(config, tensors)?;
        let cuda = Cuda::with(load, false)?;
        let weights = Weights::upload(&cuda, &arranged)?;
        let room = Room::new(&cuda, (RECORDED, RECORDED), weights.layers.len())?;
        let mut encoder = Self {
            cuda,
            weights,
            vocabulary: config.vocab_size,
            longest: config.max_position_embeddings,
            epsilon: config.layer_norm_eps,
            room,
            recorded: HashMap::new(),
            host: Vec::new(),
            fixed: None,
        };
        let mut tokens = LEAST;
        while tokens <= RECORDED {
            encoder.forward(&vec![[0u32].as_slice(); tokens], &mut Vec::new())?;
            tokens *= 2;
        }
        Ok(encoder)
    }

    /// The GPU's name.
    pub(crate) fn name(&self) -> &str {
        &self.cuda.name
    }

    /// Encodes several texts; adds the tokens of each layer's experts to `load`.
    ///
    /// # Errors
    /// [`ForwardError::Batch`] when a text has no token, more than the model has places for, or a token outside the vocabulary;
    /// otherwise when the GPU fails.
    pub(crate) fn forward(&mut self, texts: &[&[u32]], load: &mut Vec<Vec<u64>>) -> Result<Vec<Encoded>, ForwardError> {
        load.resize_with(self.weights.layers.len(), || vec![0; EXPERTS]);
        let mut encoded = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = rest.iter().take_while(|text| {
                tokens += text.len();
                tokens <= Self::MOST
            });
            // A text alone always fits, or is refused.
            let (part, after) = rest.split_at(fits.count().clamp(1, rest.len()));
            self.part(part, load, &mut encoded)?;
            rest = after;
        }
        Ok(encoded)
    }

    fn part(
        &mut self,
        texts: &[&[u32]],
        load: &mut [Vec<u64>],
        encoded: &mut Vec<Encoded>,
    ) -> Result<(), ForwardError> {
        let n = texts.iter().map(|text| text.len()).sum::<usize>();
        let capacity = if n <= RECORDED { n.next_power_of_two().max(LEAST) } else { n };
        self.reserve(capacity, texts.len())?;
        let numbers = self.ask(texts, n, capacity)?;
        if n <= RECORDED {
            self.replay(capacity)?;
        } else {
            self.bring(numbers)?;
            self.launch(capacity, texts.len())?;
        }
        self.cuda.stream.synchronize().map_err(device_failed)?;
        let counts = self.weights.layers.len() * EXPERTS;
        let (counted, features) = self.room.found.as_slice().map_err(device_failed)?.split_at(counts);
        for (load, counted) in load.iter_mut().zip(counted.chunks_exact(EXPERTS)) {
            load.iter_mut().zip(counted).for_each(|(load, counted)| *load += u64::from(counted.to_bits()));
        }
        let features = features.chunks_exact(2 * WIDTH).take(texts.len());
        encoded.extend(features.map(|features| Encoded { features: features.to_vec() }));
        Ok(())
    }

    /// Room for so many tokens and texts. What was recorded names the old room.
    fn reserve(&mut self, tokens: usize, texts: usize) -> Result<(), ForwardError> {
        if self.room.tokens < tokens || self.room.texts < texts {
            let more = |there: usize, asked: usize| if there < asked { asked.next_power_of_two() } else { there };
            let wanted = (more(self.room.tokens, tokens), more(self.room.texts, texts));
            self.recorded.clear();
            self.room = Room::new(&self.cuda, wanted, self.weights.layers.len())?;
        }
        Ok(())
    }

    /// Checks a batch and lays it out for `capacity` tokens; answers how many numbers that are.
    fn ask(&mut self, texts: &[&[u32]], n: usize, capacity: usize) -> Result<usize, ForwardError> {
        let wrong = |what: &str| Err(ForwardError::Batch(what.to_owned()));
        let host = &mut self.host;
        host.clear();
        host.extend([int(n), int(texts.len()), 0, 0]);
        for text in texts {
            if text.is_empty() || text.len() > self.longest {
                return wrong("a text has no token, or too many");
            }
            for token in *text {
                match i32::try_from(*token) {
                    Ok(known) if usize::try_from(known).is_ok_and(|token| token < self.vocabulary) => host.push(known),
                    _ => return wrong("a token is not in the vocabulary"),
                }
            }
        }
        let firsts = || {
            texts.iter().scan(0, |next, text| {
                let first = *next;
                *next += text.len();
                Some((int(first), text.len()))
            })
        };
        host.resize(HEAD + capacity, 0);
        host.extend(firsts().flat_map(|(first, length)| std::iter::repeat_n(first, length)));
        host.resize(HEAD + 2 * capacity, 0);
        host.extend(firsts().flat_map(|(first, length)| std::iter::repeat_n(first + int(length), length)));
        host.resize(HEAD + 3 * capacity, 0);
        host.extend(firsts().map(|(first, _)| first));
        host.push(int(n));
        let asked = self.room.asked.as_mut_slice().map_err(device_failed)?;
        asked.iter_mut().zip(&*host).for_each(|(to, from)| *to = *from);
        Ok(host.len())
    }

    /// Copies the first numbers of a batch to the GPU.
    fn bring(&self, numbers: usize) -> Result<(), ForwardError> {
        let asked = self.room.asked.as_slice().map_err(device_failed)?;
        let (to, stream) = (self.cuda.at(&self.room.batch), self.cuda.stream.cu_stream());
        let asked = asked.get(..numbers.min(self.room.batch.len())).unwrap_or_default();
        #[expect(unsafe_code, reason = "the library's own copy can not be recorded: it waits for events")]
        // SAFETY: both sides have room for so many numbers, and live as long as the stream's work and what was recorded.
        unsafe { cudarc::driver::result::memcpy_htod_async(to, asked, stream) }.map_err(device_failed)
    }

    /// Runs the recorded kernels for up to `capacity` tokens; records them first where they are not.
    fn replay(&mut self, capacity: usize) -> Result<(), ForwardError> {
        if !self.recorded.contains_key(&capacity) {
            let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
            self.cuda.stream.begin_capture(mode).map_err(device_failed)?;
            let launched = self.bring(HEAD + 4 * capacity + 1).and_then(|()| self.launch(capacity, capacity));
            let graph = self.cuda.stream.end_capture(CUgraphInstantiate_flags(0)).map_err(device_failed);
            launched?;
            let graph = graph?.ok_or_else(|| ForwardError::Device("nothing was recorded".to_owned()))?;
            self.recorded.insert(capacity, Graph(graph));
        }
        match self.recorded.get(&capacity) {
            Some(Graph(graph)) => graph.launch().map_err(device_failed),
            None => Ok(()),
        }
    }

    /// The form for so many tokens: as many rows a block as leave work for every multiprocessor.
    fn form(&self, capacity: usize) -> Form {
        if let Some(form) = self.fixed {
            return form;
        }
        if capacity < FEW.rows * self.cuda.processors { FEW } else { MANY }
    }

    /// Launches all kernels.
    fn launch(&self, capacity: usize, texts: usize) -> Result<(), ForwardError> {
        for layer in 0..self.weights.layers.len() {
            self.project(layer, capacity)?;
            self.attend(layer, capacity)?;
            self.experts(layer, capacity)?;
        }
        self.read_out(capacity, texts)
    }

    fn texts(&self, capacity: usize) -> Texts {
        let base = self.cuda.at(&self.room.batch);
        let at = |place: usize| base + (size_of::<i32>() * place) as Pointer;
        Texts {
            counts: base,
            tokens: at(HEAD),
            starts: at(HEAD + capacity),
            ends: at(HEAD + 2 * capacity),
            firsts: at(HEAD + 3 * capacity),
            capacity: int(capacity),
            unused: 0,
        }
    }

    /// What a layer left: its attention, and what its experts say.
    fn branches(&self, layer: &Layer) -> Branches {
        let (x, says) = (self.cuda.at(&self.room.attended), self.cuda.at(&self.room.says));
        Branches { x, says, bias: layer.down_bias }
    }

    fn lists(&self, layer: usize) -> Lists {
        let counts = self.cuda.at(&self.room.counts) + (size_of::<u32>() * EXPERTS * layer) as Pointer;
        Lists { counts, tokens: self.cuda.at(&self.room.listed), gates: self.cuda.at(&self.room.gates) }
    }

    fn layer(&self, layer: usize) -> Result<&Layer, ForwardError> {
        self.weights.layers.get(layer).ok_or_else(|| ForwardError::Device("there is no such layer".to_owned()))
    }

    fn project(&self, number: usize, capacity: usize) -> Result<(), ForwardError> {
        let (form, texts, layer) = (self.form(capacity), self.texts(capacity), self.layer(number)?);
        let (x, qkv) = (self.cuda.at(&self.room.x), self.cuda.at(&self.room.qkv));
        let tiles = capacity.div_ceil(form.rows);
        // One matrix a block where that gives every multiprocessor one.
        let parts = if tiles < self.cuda.processors { 3 } else { 1 };
        let shape = Shape { blocks: (tiles, parts, 1), threads: form.threads, shared: form.shared };
        match number.checked_sub(1) {
            None => {
                let kernel = self.cuda.kernel(&format!("first_{}", form.name))?;
                let (origin, norm) = (self.weights.origin, self.weights.norm);
                launch!(self.cuda, kernel, shape, texts, origin, norm, self.epsilon, layer.qkv, x, qkv)
            }
            Some(before) => {
                let kernel = self.cuda.kernel(&format!("project_{}", form.name))?;
                let before = self.layer(before)?;
                let (branches, norm) = (self.branches(before), before.after_experts);
                launch!(self.cuda, kernel, shape, texts, branches, norm, self.epsilon, layer.qkv, x, qkv)
            }
        }
    }

    fn attend(&self, number: usize, capacity: usize) -> Result<(), ForwardError> {
        let (form, texts, layer) = (self.form(capacity), self.texts(capacity), self.layer(number)?);
        let (x, qkv, attended) =
            (self.cuda.at(&self.room.x), self.cuda.at(&self.room.qkv), self.cuda.at(&self.room.attended));
        let (lists, norm) = (self.lists(number), layer.after_attention);
        let shape = Shape { blocks: (capacity.div_ceil(form.rows), 1, 1), threads: form.threads, shared: form.shared };
        let kernel = self.cuda.kernel(&format!("attend_{}", form.name))?;
        launch!(self.cuda, kernel, shape, texts, qkv, x, layer.out, norm, self.epsilon, layer.router, lists, attended)
    }

    fn experts(&self, number: usize, capacity: usize) -> Result<(), ForwardError> {
        let (form, texts, layer) = (self.form(capacity), self.texts(capacity), self.layer(number)?);
        let (attended, says, lists) =
            (self.cuda.at(&self.room.attended), self.cuda.at(&self.room.says), self.lists(number));
        // Every expert's last tile may be of a single token.
        let tiles = (GROUPS * capacity).div_ceil(form.rows) + EXPERTS;
        let shape = Shape { blocks: (tiles, 1, 1), threads: form.threads, shared: form.shared };
        let kernel = self.cuda.kernel(&format!("experts_{}", form.name))?;
        launch!(self.cuda, kernel, shape, texts, attended, lists, layer.up, layer.down_scales, says)
    }

    fn read_out(&self, capacity: usize, texts: usize) -> Result<(), ForwardError> {
        let (batch, layers) = (self.texts(capacity), self.weights.layers.len());
        let last = self.layer(layers.saturating_sub(1))?;
        let (branches, norm) = (self.branches(last), last.after_experts);
        let counts = self.cuda.at(&self.room.counts);
        let out = self.room.found.as_ptr().map_err(device_failed)? as Pointer;
        let blocks = (texts.min(8 * self.cuda.processors), 1, 1);
        let (kernel, shape) = (self.cuda.kernel("read_out")?, Shape { blocks, threads: 128, shared: 0 });
        launch!(self.cuda, kernel, shape, batch, branches, norm, self.epsilon, counts, int(layers * EXPERTS), out)
    }
}

/// Kernels, by name.
fn load(context: &Arc<CudaContext>, architecture: &str, driver: i32) -> Result<HashMap<String, CudaFunction>, Lack> {
    let image = library::image(library::ENCODER, &[], architecture, driver)?;
    let failed = |error: DriverError| Lack::Kernel {
        file: format!("{}.cu", library::ENCODER.0),
        architecture: architecture.to_owned(),
        log: error.to_string(),
    };
    let module = context.load_module(Ptx::from_binary(image)).map_err(failed)?;
    let of_forms = ["first", "project", "attend", "experts"].into_iter();
    let of_forms = of_forms.flat_map(|kernel| [FEW, MANY].map(|form| format!("{kernel}_{}", form.name)));
    let names = of_forms.chain(["read_out".to_owned()]);
    names.map(|name| module.load_function(&name).map(|kernel| (name, kernel)).map_err(failed)).collect()
}

impl Weights {
    fn upload(cuda: &Cuda, arranged: &Arranged) -> Result<Self, ForwardError> {
        let (mut halves, mut singles, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
        let mut half = |numbers: &[u16]| -> Result<Pointer, ForwardError> {
            halves.push(cuda.copied(numbers)?);
            Ok(halves.last().map_or(0, |kept| cuda.at(kept)))
        };
        let mut single = |numbers: &[f32]| -> Result<Pointer, ForwardError> {
            singles.push(cuda.copied(numbers)?);
            Ok(singles.last().map_or(0, |kept| cuda.at(kept)))
        };
        let mut pair = |numbers: &[u32]| -> Result<Pointer, ForwardError> {
            pairs.push(cuda.copied(numbers)?);
            Ok(pairs.last().map_or(0, |kept| cuda.at(kept)))
        };
        let origin = Origin {
            words: half(&arranged.words)?,
            scales: single(&arranged.word_scales)?,
            places: single(&arranged.places)?,
        };
        let norm = Norm { weight: single(&arranged.norm.0)?, bias: single(&arranged.norm.1)? };
        let mut layers = Vec::new();
        for layer in &arranged.layers {
            let mut map = |matrices: &Matrices, bias: &[f32]| -> Result<Map, ForwardError> {
                Ok(Map { slabs: half(&matrices.slabs)?, scales: single(&matrices.scales)?, bias: single(bias)? })
            };
            let (qkv, out) = (map(&layer.qkv, &layer.qkv_bias)?, map(&layer.out, &layer.out_bias)?);
            let up =
                Map { slabs: half(&layer.experts)?, scales: single(&layer.up_scales)?, bias: single(&layer.up_bias)? };
            let (attention, experts) = (&layer.after_attention, &layer.after_experts);
            layers.push(Layer {
                qkv,
                out,
                after_attention: Norm { weight: single(&attention.0)?, bias: single(&attention.1)? },
                router: Router {
                    weight: pair(&layer.router)?,
                    bias: single(&layer.selection_bias)?,
                    sharpness: single(&layer.sharpness)?,
                },
                up,
                down_scales: single(&layer.down_scales)?,
                down_bias: single(&layer.down_bias)?,
                after_experts: Norm { weight: single(&experts.0)?, bias: single(&experts.1)? },
            });
        }
        // What was copied from may go now.
        cuda.stream.synchronize().map_err(device_failed)?;
        Ok(Self { origin, norm, layers, _kept: (halves, singles, pairs) })
    }
}

impl Room {
    fn new(cuda: &Cuda, (tokens, texts): (usize, usize), layers: usize) -> Result<Self, ForwardError> {
        let asked = HEAD + 3 * tokens + texts.max(tokens) + 1;
        #[expect(unsafe_code, reason = "memory of the machine that the GPU reads and writes")]
        // SAFETY: what is read of it was written before, and any bits are numbers.
        let (asked_here, found_here) = unsafe {
            let context = cuda.stream.context();
            let found = layers * EXPERTS + 2 * WIDTH * texts;
            (
                context.alloc_pinned_with_flags(asked, CU_MEMHOSTALLOC_DEVICEMAP),
                context.alloc_pinned_with_flags(found, CU_MEMHOSTALLOC_DEVICEMAP),
            )
        };
        Ok(Self {
            tokens,
            texts,
            batch: cuda.zeros(asked)?,
            x: cuda.zeros(tokens * WIDTH)?,
            attended: cuda.zeros(tokens * WIDTH)?,
            qkv: cuda.zeros(3 * tokens * WIDTH)?,
            says: cuda.zeros(GROUPS * tokens * WIDTH)?,
            listed: cuda.zeros(EXPERTS * tokens)?,
            gates: cuda.zeros(EXPERTS * tokens)?,
            counts: cuda.zeros(layers * EXPERTS)?,
            asked: asked_here.map_err(device_failed)?,
            found: found_here.map_err(device_failed)?,
        })
    }
}
