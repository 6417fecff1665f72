//! Loading kernels and starting them.
#![expect(
    unsafe_code,
    reason = "a kernel's arguments are as right as its caller: each is called in one place of this folder"
)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::{
    self, CUfunction_attribute, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue, CUlaunchConfig,
};
use cudarc::driver::{CudaContext, CudaFunction};
use cudarc::nvrtc::Ptx;

use super::library::{self, Lack};
use super::memory::Kind;
use super::{Cuda, device_failed};
use crate::models::causal::ForwardError;

/// Kernels of one form, with their file.
const PLAIN: [(&str, &[&str]); 6] = [
    ("norm", &["embed", "angles", "normalise", "likeliest"]),
    ("linear", &["spread", "add_bias", "adapt", "draw"]),
    ("heads", &["turn_grouped", "turn_latent", "absorb"]),
    ("route", &["route_normed", "route_1", "route_4", "choose_many", "sort"]),
    ("experts", &["grouped_up", "grouped_down", "spread_experts"]),
    ("wide", &["wide_up", "wide_down"]),
];

/// Kernels that there are for each format of weights, with their file and their forms: for so many tiles of eight tokens whose
/// planes lie ready, or for up to eight whose norm is taken on the way.
const KINDS: [(&str, &str, &[&str]); 3] = [
    ("linear", "linear", &["1", "2", "4", "normed"]),
    ("experts", "experts_up", &["1", "2"]),
    ("experts", "experts_down", &["1", "2", "few"]),
];

/// Bytes of shared memory that every kernel may have beside its own variables; beyond, it must ask.
const USUAL: usize = 40 << 10;

/// The driver's version, 0 where it does not say.
pub(super) fn driver_version() -> i32 {
    let mut version = 0;
    // SAFETY: writes one number.
    let answer = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    if answer.result().is_ok() { version } else { 0 }
}

/// All kernels by name.
pub(super) fn load(
    context: &Arc<CudaContext>,
    architecture: &str,
    driver: i32,
) -> Result<HashMap<String, CudaFunction>, Lack> {
    let mut kernels = HashMap::new();
    // What Hopper alone can do is of no use to those after it.
    let hopper = (architecture == "sm_90").then_some((library::WIDE, "sm_90a"));
    let files = library::FILES.into_iter().map(|file| (file, architecture)).chain(hopper);
    for ((file, text), architecture) in files {
        let image = library::image((file, text), &[], architecture, driver)?;
        let failed = |error: cudarc::driver::DriverError| Lack::Kernel {
            file: format!("{file}.cu"),
            architecture: architecture.to_owned(),
            log: error.to_string(),
        };
        let module = context.load_module(Ptx::from_binary(image)).map_err(failed)?;
        let plain = PLAIN
            .iter()
            .filter(|(of, _)| *of == file)
            .flat_map(|(_, names)| names.iter().map(|name| (*name).to_owned()));
        let kinds = KINDS.iter().filter(|(of, ..)| *of == file).flat_map(|(_, name, forms)| {
            [Kind::Bf16, Kind::Int8, Kind::Int4, Kind::Exact]
                .into_iter()
                .flat_map(move |kind| forms.iter().map(move |form| format!("{name}_{}_{form}", kind.name())))
        });
        for name in plain.chain(kinds) {
            let kernel = module.load_function(&name).map_err(failed)?;
            kernels.insert(name, kernel);
        }
    }
    Ok(kernels)
}

/// How a kernel is started.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) blocks: (usize, usize, usize),
    pub(super) threads: usize,
    /// Bytes of shared memory.
    pub(super) shared: usize,
}

/// Starts a kernel; the arguments are variables of the kernel's own types, in its order.
macro_rules! launch {
    ($device:expr, $kernel:expr, $shape:expr, $($argument:expr),* $(,)?) => {
        $device.start($kernel, $shape, &mut [$(std::ptr::from_ref(&$argument).cast_mut().cast::<std::ffi::c_void>()),*])
    };
}
pub(super) use launch;

impl Cuda {
    /// A kernel by name.
    pub(super) fn kernel(&self, name: &str) -> Result<&CudaFunction, ForwardError> {
        self.kernels.get(name).ok_or_else(|| ForwardError::Device(format!("there is no kernel {name}")))
    }

    /// The form of a kernel for a format: see [`KINDS`].
    pub(super) fn kernel_for(
        &self,
        name: &str,
        kind: Kind,
        form: impl std::fmt::Display,
    ) -> Result<&CudaFunction, ForwardError> {
        self.kernel(&format!("{name}_{}_{form}", kind.name()))
    }

    /// See [`launch!`].
    pub(super) fn start(
        &self,
        kernel: &CudaFunction,
        shape: Shape,
        arguments: &mut [*mut c_void],
    ) -> Result<(), ForwardError> {
        let Shape { blocks: (x, y, z), threads, shared } = shape;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.stream.context().bind_to_thread().map_err(device_failed)?;
        if shared > USUAL {
            let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            kernel.set_attribute(most, super::int(shared)).map_err(device_failed)?;
        }
        // The kernel may be set up, and ask for its weights, while the one before it ends: see `after_previous` in `numbers.cu`.
        let mut value = CUlaunchAttributeValue { pad: [0; 64] };
        value.programmaticStreamSerializationAllowed = 1;
        let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        let mut overlap = CUlaunchAttribute { id, pad: [0; 4], value };
        let config = CUlaunchConfig {
            gridDimX: small(x),
            gridDimY: small(y),
            gridDimZ: small(z),
            blockDimX: small(threads),
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: small(shared),
            hStream: self.stream.cu_stream(),
            attrs: &raw mut overlap,
            numAttrs: u32::from(self.overlap),
        };
        // SAFETY: the arguments point to variables that live until the call returns, of the types that the kernel has; what
        // addresses among them name lives in buffers that the caller holds, and is given back only after the stream's work.
        unsafe {
            sys::cuLaunchKernelEx(&raw const config, kernel.cu_function(), arguments.as_mut_ptr(), std::ptr::null_mut())
        }
        .result()
        .map_err(device_failed)
    }
}
