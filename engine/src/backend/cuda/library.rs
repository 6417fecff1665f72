//! The kernels' sources, and how they become code for one GPU: NVRTC compiles them when they are first needed, and what it
//! made is kept on disk.
#![expect(unsafe_code, reason = "NVRTC is a C library; its programs are used in this file alone")]

use std::ffi::CString;
use std::path::PathBuf;

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

/// What is missing for a GPU to be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lack {
    /// The driver's library is not there.
    #[error("no NVIDIA driver (libcuda.so)")]
    Driver,
    /// The driver finds no GPU.
    #[error("no NVIDIA GPU ({0})")]
    Device(String),
    /// The GPU has no bfloat16 tensor cores.
    #[error("no GPU of compute capability 8.0 or more ({name} has {major}.{minor})")]
    Generation {
        /// The GPU.
        name: String,
        /// Of its compute capability.
        major: i32,
        /// Of its compute capability.
        minor: i32,
    },
    /// NVRTC is not there, and the kernels were not compiled before.
    #[error("no NVRTC (libnvrtc.so; from the CUDA toolkit, or pip install nvidia-cuda-nvrtc and LD_LIBRARY_PATH)")]
    Compiler,
    /// A kernel does not compile; the message is the compiler's.
    #[error("kernel {file} for {architecture} does not compile: {log}")]
    Kernel {
        /// Its file.
        file: String,
        /// The GPU's architecture.
        architecture: String,
        /// What the compiler says.
        log: String,
    },
}

/// What every other file begins with, in this order.
const BEFORE: [(&str, &str); 2] = [
    ("numbers", include_str!("../../../../kernels/numbers.cu")),
    ("products", include_str!("../../../../kernels/products.cu")),
];

/// The file of the encoder's kernels.
pub(super) const ENCODER: (&str, &str) = ("encoder", include_str!("../../../../kernels/encoder.cu"));

/// The files of kernels that are compiled once for each GPU.
pub(super) const FILES: [(&str, &str); 5] = [
    ("norm", include_str!("../../../../kernels/norm.cu")),
    ("linear", include_str!("../../../../kernels/linear.cu")),
    ("heads", include_str!("../../../../kernels/heads.cu")),
    ("route", include_str!("../../../../kernels/route.cu")),
    ("experts", include_str!("../../../../kernels/experts.cu")),
];

/// The file that is compiled for Hopper alone, as `sm_90a`.
pub(super) const WIDE: (&str, &str) = ("wide", include_str!("../../../../kernels/wide.cu"));

/// The file that is compiled for each shape of heads.
pub(super) const ATTEND: (&str, &str) = ("attend", include_str!("../../../../kernels/attend.cu"));

/// Code for one GPU, from the disk where it was compiled before. `options` are the compiler's; `driver` the driver's version.
///
/// # Errors
/// [`Lack::Compiler`] without NVRTC, [`Lack::Kernel`] when the file does not compile.
pub(super) fn image(
    (name, text): (&str, &str),
    options: &[String],
    architecture: &str,
    driver: i32,
) -> Result<Vec<u8>, Lack> {
    let source = source(name, text);
    let mut hash = Sha256::new();
    for part in [source.as_str(), architecture, &options.join(" "), &driver.to_string()] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let kept =
        folder().map(|folder| folder.join(format!("{name}-{architecture}-{}.cubin", hex::encode(hash.finalize()))));
    if let Some(image) = kept.as_ref().and_then(|path| std::fs::read(path).ok()) {
        return Ok(image);
    }
    let image = compile(name, &source, options, architecture)?;
    if let Some(path) = kept {
        // Whoever can not write compiles again next time.
        let _ = keep(&path, &image);
    }
    Ok(image)
}

/// A file behind what it begins with. `CANDOR_KERNELS` names a folder to read the files from instead, for work on them.
fn source(name: &str, text: &str) -> String {
    let folder = std::env::var_os("CANDOR_KERNELS").map(PathBuf::from);
    let read = |(name, text): (&str, &str)| {
        let file = folder.as_ref().and_then(|folder| std::fs::read_to_string(folder.join(format!("{name}.cu"))).ok());
        format!("#line 1 \"{name}.cu\"\n{}\n", file.unwrap_or_else(|| text.to_owned()))
    };
    BEFORE.into_iter().chain([(name, text)]).map(read).collect()
}

fn folder() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("candor").join("kernels"))
}

fn keep(path: &std::path::Path, image: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&draft, image)?;
    std::fs::rename(&draft, path)
}

/// Whether NVRTC is on this machine.
#[must_use]
pub(super) fn compiler_is_there() -> bool {
    // SAFETY: loads the library, whose initialisation is trusted as that of any library.
    unsafe { sys::is_culib_present() }
}

/// Compiles for an architecture (`sm_90`), whether or not such a GPU is here.
///
/// # Errors
/// As [`image`].
pub(super) fn compile(name: &str, source: &str, options: &[String], architecture: &str) -> Result<Vec<u8>, Lack> {
    if !compiler_is_there() {
        return Err(Lack::Compiler);
    }
    let failed = |log: String| Lack::Kernel { file: format!("{name}.cu"), architecture: architecture.to_owned(), log };
    let text = CString::new(source).map_err(|error| failed(error.to_string()))?;
    let program = result::create_program(&text, None).map_err(|error| failed(error.to_string()))?;
    let mut all = vec![format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()];
    all.extend_from_slice(options);
    // SAFETY: the program was just made, is not freed before the end of this block, and the buffer is as long as NVRTC says.
    unsafe {
        let compiled = result::compile_program(program, &all);
        let image = match compiled {
            Err(error) => {
                let log = result::get_program_log(program).unwrap_or_default();
                let log: Vec<u8> = log.into_iter().map(|c| c.to_le_bytes()[0]).take_while(|byte| *byte != 0).collect();
                Err(failed(format!("{error}: {}", String::from_utf8_lossy(&log).trim())))
            }
            Ok(()) => {
                let mut size = 0;
                let mut image = Vec::new();
                sys::nvrtcGetCUBINSize(program, &raw mut size)
                    .result()
                    .and_then(|()| {
                        image.resize(size, 0u8);
                        sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result()
                    })
                    .map(|()| image)
                    .map_err(|error| failed(error.to_string()))
            }
        };
        // A program that can not be freed costs memory and nothing else.
        let _ = result::destroy_program(program);
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cuda::attend::Shape;

    /// In CI this must compile (`CI_NVRTC=1`, set by `.ci/run`); elsewhere it says that it did not.
    #[test]
    fn every_kernel_compiles() {
        if !compiler_is_there() {
            let what = "NVRTC is not here: pip install --target DIR nvidia-cuda-nvrtc, and LD_LIBRARY_PATH=DIR/nvidia/cu13/lib";
            assert!(std::env::var_os("CI_NVRTC").is_none(), "{what}");
            println!("skipped: {what}");
            return;
        }
        let wide = compile(WIDE.0, &source(WIDE.0, WIDE.1), &[], "sm_90a").unwrap();
        assert_eq!(wide.get(..4), Some(b"\x7fELF".as_slice()));
        for architecture in ["sm_80", "sm_90"] {
            for (name, text) in FILES.into_iter().chain([ENCODER]) {
                let image = compile(name, &source(name, text), &[], architecture).unwrap();
                assert_eq!(image.get(..4), Some(b"\x7fELF".as_slice()), "{name} for {architecture}");
            }
            // Grouped heads of 128 and 24, latent heads of DeepSeek and of the shipped model; few tokens and many.
            let heads = [(128, 128, false, 1), (24, 24, false, 2), (576, 512, true, 1), (160, 128, true, 2)];
            for (size, value, shared, cached) in heads {
                let all = [(false, true), (true, false), (true, true)];
                for ways in all.into_iter().take(if architecture == "sm_90" { 3 } else { 2 }) {
                    for shape in Shape::all((size, value, shared), ways, cached) {
                        let source = source(ATTEND.0, ATTEND.1);
                        let image = compile("attend", &source, &shape.options(), architecture).unwrap();
                        assert!(image.len() > 1000, "{shape:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_compile_is_named_with_its_line() {
        if !compiler_is_there() {
            println!("skipped: no NVRTC");
            return;
        }
        let error =
            compile("norm", "#line 1 \"norm.cu\"\nextern \"C\" __global__ void f() { nothing(); }", &[], "sm_90");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("norm.cu(1)") && error.contains("nothing"), "{error}");
    }
}
