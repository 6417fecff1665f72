//! An NVIDIA GPU as a [`Backend`]: kernels of our own, compiled for the GPU that is found, and the library's products where
//! many tokens meet one matrix.
//!
//! Nothing of CUDA is needed to build or start the program; its libraries are loaded when a GPU is asked for. One stream
//! does everything in order. Steps that write one token for each of a few sequences are recorded the second time they
//! come, and replayed from then on as one launch (see [`step`]).

pub(crate) mod attend;
mod encoder;
mod launch;
mod library;
mod linear;
mod memory;
mod mixture;
mod output;
mod products;
mod step;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaContext, CudaFunction, CudaSlice, CudaStream, DriverError};

use super::{Adapter, Backend, Chosen, Gated, Grouped, Latent, Rope, Routing};
use crate::models::causal::{BLOCK, Batch, ForwardError};
use crate::weights::Stored;

pub(crate) use encoder::Encoder;
pub(crate) use library::Lack;
use memory::{Buffer, Cache, Matrix};
use mixture::{Choices, Lists, Router, Table};
use products::Products;
use step::{Recorded, Step};

/// An address in the GPU's memory.
type Pointer = u64;

/// One GPU.
pub(crate) struct Cuda {
    stream: Arc<CudaStream>,
    name: String,
    architecture: String,
    driver: i32,
    /// Multiprocessors, and bytes of shared memory that a block may have.
    processors: usize,
    shared: usize,
    /// Whether a kernel may begin while the one before it ends. `CANDOR_GPU_SERIAL` says no, to measure what that gains.
    overlap: bool,
    kernels: HashMap<String, CudaFunction>,
    attention: RefCell<HashMap<attend::Shape, CudaFunction>>,
    products: Option<Products>,
    work: RefCell<Work>,
    tables: RefCell<HashMap<Pointer, Table>>,
    recorded: RefCell<HashMap<usize, Recorded>>,
    /// Counts every time that memory was given back: what was recorded before may name it.
    epoch: Cell<u64>,
}

/// Room that operations work in; none of it lives longer than to the next operation that reads it.
#[derive(Default)]
struct Work {
    queries: Option<CudaSlice<u16>>,
    /// What multi-head latent attention mixed.
    mixed: Option<CudaSlice<u16>>,
    partial: Option<CudaSlice<f32>>,
    /// Zero between kernels.
    counters: Option<CudaSlice<u32>>,
    scores: Option<CudaSlice<f32>>,
    inner: Option<CudaSlice<u16>>,
    /// What each expert says of each token, `[parts, n, width]`.
    parts: Option<CudaSlice<f32>>,
    /// Lists of pairs of layers without a router.
    lists: Lists,
    last: Option<CudaSlice<u16>>,
    logits: Option<CudaSlice<f32>>,
    best: Option<CudaSlice<i32>>,
    spread: Option<CudaSlice<u16>>,
}

impl Cuda {
    /// What is missing, as far as can be said without starting the GPU.
    #[must_use]
    pub(crate) fn lack() -> Option<Lack> {
        #[expect(unsafe_code, reason = "loads the driver's library, whose initialisation is trusted as that of any")]
        // SAFETY: as the reason says.
        let there = unsafe { cudarc::driver::sys::is_culib_present() };
        if !there {
            return Some(Lack::Driver);
        }
        let count = cudarc::driver::result::init().and_then(|()| CudaContext::device_count());
        match count {
            Err(error) => Some(Lack::Device(error.to_string())),
            Ok(0) => Some(Lack::Device("the driver finds none".to_owned())),
            Ok(_) => None,
        }
    }

    /// The first GPU.
    ///
    /// # Errors
    /// [`Lack`] naming the first thing that is missing.
    pub(crate) fn open() -> Result<Self, Lack> {
        Self::with(launch::load, true)
    }

    /// The first GPU with the kernels that `load` loads for an architecture and a driver, and with the library's products or
    /// without.
    fn with(
        load: impl FnOnce(&Arc<CudaContext>, &str, i32) -> Result<HashMap<String, CudaFunction>, Lack>,
        products: bool,
    ) -> Result<Self, Lack> {
        if let Some(lack) = Self::lack() {
            return Err(lack);
        }
        let lacks = |error: DriverError| Lack::Device(error.to_string());
        let context = CudaContext::new(0).map_err(lacks)?;
        let name = context.name().map_err(lacks)?;
        let (major, minor) = context.compute_capability().map_err(lacks)?;
        if major < 8 {
            return Err(Lack::Generation { name, major, minor });
        }
        #[expect(unsafe_code, reason = "a switch of the library that says who keeps order")]
        // SAFETY: one stream does everything, in order; no event is needed.
        unsafe {
            context.disable_event_tracking();
        }
        let stream = context.new_stream().map_err(lacks)?;
        let attribute =
            |which| context.attribute(which).map_err(lacks).map(|value| usize::try_from(value).unwrap_or(0));
        let processors = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let shared = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let driver = launch::driver_version();
        let architecture = format!("sm_{major}{minor}");
        let kernels = load(&context, &architecture, driver)?;
        let products = if products { Products::open(&stream) } else { None };
        Ok(Self {
            stream,
            name,
            architecture,
            driver,
            processors,
            shared,
            overlap: major >= 9 && std::env::var_os("CANDOR_GPU_SERIAL").is_none(),
            kernels,
            attention: RefCell::default(),
            products,
            work: RefCell::default(),
            tables: RefCell::default(),
            recorded: RefCell::default(),
            epoch: Cell::new(0),
        })
    }

    /// Bytes a second that a copy within the GPU's memory reads and writes.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn copy_bandwidth(&self) -> Result<f64, ForwardError> {
        let bytes = 1 << 30;
        let (from, mut to) = (self.zeros::<u8>(bytes)?, self.zeros::<u8>(bytes)?);
        let mut best = f64::INFINITY;
        for _ in 0..8 {
            self.stream.synchronize().map_err(device_failed)?;
            let start = std::time::Instant::now();
            for _ in 0..4 {
                self.stream.memcpy_dtod(&from, &mut to).map_err(device_failed)?;
            }
            self.stream.synchronize().map_err(device_failed)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(8.0 * bytes as f64 / best)
    }
}

/// A number as kernels count.
fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn device_failed(error: DriverError) -> ForwardError {
    ForwardError::Device(error.to_string())
}

impl Backend for Cuda {
    type Buffer = Buffer;
    type Matrix = Matrix;
    type Vector = CudaSlice<f32>;
    type Cache = Cache;
    type Step = Step;
    type Router = Router;
    type Choices = Choices;

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn buffer(&self, rows: usize, width: usize) -> Result<Buffer, ForwardError> {
        self.new_buffer(rows, width)
    }

    fn reserve(&self, buffer: &mut Buffer, rows: usize) -> Result<(), ForwardError> {
        if buffer.rows < rows {
            *buffer = self.new_buffer(rows, buffer.width)?;
            self.moved();
        }
        Ok(())
    }

    fn matrix(&self, parts: Vec<Stored>, bias: Option<Vec<f32>>) -> Result<Matrix, ForwardError> {
        let matrix = self.upload(&parts, bias.as_deref())?;
        parts.iter().for_each(Stored::read_for_the_last_time);
        Ok(matrix)
    }

    fn vector(&self, values: Vec<f32>) -> Result<CudaSlice<f32>, ForwardError> {
        let copy = self.copied(&values)?;
        self.stream.synchronize().map_err(device_failed)?;
        Ok(copy)
    }

    fn cache(&self, blocks: usize, width: usize) -> Result<Cache, ForwardError> {
        let planes = Cache::planes(width);
        let numbers = blocks.checked_mul(BLOCK * width * planes);
        let numbers = numbers.ok_or_else(|| ForwardError::Memory(format!("{blocks} blocks can not be counted")))?;
        self.moved();
        Ok(Cache { rows: self.zeros(numbers)?, width, planes })
    }

    fn cache_bytes(&self, width: usize) -> usize {
        Cache::planes(width) * width * size_of::<u16>()
    }

    fn router(&self, weight: Stored, bias: Option<Vec<f32>>, rule: Routing) -> Result<Router, ForwardError> {
        self.new_router(&weight, bias.as_deref(), rule)
    }

    fn choices(&self, experts_per_token: usize) -> Result<Choices, ForwardError> {
        Ok(Choices::new(experts_per_token))
    }

    fn step(&self) -> Result<Step, ForwardError> {
        Ok(Step::default())
    }

    fn begin(&self, step: &mut Step, batch: &Batch, rope: &Rope) -> Result<(), ForwardError> {
        self.begin_step(step, batch, rope)
    }

    fn embed(&self, step: &Step, table: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        self.embed_tokens(step, table, out)
    }

    fn norm(
        &self,
        step: &Step,
        x: &mut Buffer,
        add: Option<&Buffer>,
        norm: (&CudaSlice<f32>, f32),
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        self.normalise(step, x, add, norm, out)
    }

    fn linear(&self, step: &Step, x: &Buffer, matrix: &Matrix, out: &mut Buffer) -> Result<(), ForwardError> {
        self.map(step, x, matrix, out)
    }

    fn adapt(
        &self,
        step: &Step,
        x: &Buffer,
        adapters: &[Adapter<Matrix>],
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        self.add_adapters(step, x, adapters, out)
    }

    fn attend_grouped(
        &self,
        step: &Step,
        qkv: &mut Buffer,
        rule: &Grouped<CudaSlice<f32>>,
        cache: &mut Cache,
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        self.attend_with_groups(step, qkv, rule, cache, out)
    }

    fn attend_latent(
        &self,
        step: &Step,
        inputs: (&Buffer, &Buffer),
        kv_b: &Matrix,
        rule: &Latent<CudaSlice<f32>>,
        cache: &mut Cache,
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        self.attend_to_latents(step, inputs, kv_b, rule, cache, out)
    }

    fn route(&self, step: &Step, x: &Buffer, router: &mut Router, choices: &mut Choices) -> Result<(), ForwardError> {
        self.choose_experts(step, x, router, choices)
    }

    fn feed_forward(
        &self,
        step: &Step,
        x: &Buffer,
        chosen: Option<Chosen<'_, Self>>,
        shared: Option<&Gated<Matrix>>,
        out: &mut Buffer,
    ) -> Result<(), ForwardError> {
        self.run_experts(step, x, chosen, shared, out)
    }

    fn logits(
        &self,
        step: &mut Step,
        stream: (&Buffer, &Buffer),
        norm: (&CudaSlice<f32>, f32),
        head: &Matrix,
        out: &mut Vec<f32>,
    ) -> Result<(), ForwardError> {
        self.read_logits(step, stream, norm, head, out)
    }

    fn likeliest(
        &self,
        step: &mut Step,
        stream: (&Buffer, &Buffer),
        norm: (&CudaSlice<f32>, f32),
        head: &Matrix,
        out: &mut Vec<u32>,
    ) -> Result<(), ForwardError> {
        self.read_likeliest(step, stream, norm, head, out)
    }

    fn load(&self, router: &Router) -> Vec<u64> {
        self.stream.clone_dtoh(&router.load).unwrap_or_default()
    }
}
