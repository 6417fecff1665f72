//! Products of many tokens with one matrix: cuBLASLt's, where it is there.
#![expect(
    unsafe_code,
    reason = "cublasLt is a C library; its handles are made, used and given back in this file alone"
)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Arc;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::Pointer;
use crate::models::causal::ForwardError;

/// Bytes that products may work in: what NVIDIA recommends for Hopper.
const WORKSPACE: usize = 32 << 20;

/// The library.
pub(super) struct Products {
    handle: sys::cublasLtHandle_t,
    stream: Arc<CudaStream>,
    workspace: CudaSlice<u8>,
    plans: RefCell<HashMap<Product, Plan>>,
}

// SAFETY: a handle may be used by any one thread at a time, and `Products` is not shared.
unsafe impl Send for Products {}

/// `out[n, rows] = x[n, columns] · Wᵀ` of bfloat16 numbers to `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Product {
    pub(super) n: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Numbers from row to row of `x`, `W` and `out`.
    pub(super) pitches: (usize, usize, usize),
}

struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    /// `W`, `x`, `out`.
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Products {
    /// The library, or nothing where it is not there.
    #[must_use]
    pub(super) fn open(stream: &Arc<CudaStream>) -> Option<Self> {
        // SAFETY: loads the library, whose initialisation is trusted as that of any library.
        let there = unsafe { sys::is_culib_present() };
        if !there {
            return None;
        }
        // SAFETY: memory to work in; nobody reads what is not written.
        let workspace = unsafe { stream.alloc(WORKSPACE) }.ok()?;
        let handle = result::create_handle().ok()?;
        Some(Self { handle, stream: Arc::clone(stream), workspace, plans: RefCell::default() })
    }

    /// Computes a product; `w`, `x` and `out` are where the matrices begin.
    pub(super) fn run(&self, product: Product, (w, x, out): (Pointer, Pointer, Pointer)) -> Result<(), ForwardError> {
        let failed = |error: CublasError| ForwardError::Device(format!("cublasLt: {error} for {product:?}"));
        let mut plans = self.plans.borrow_mut();
        let plan = match plans.entry(product) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.plan(product).map_err(failed)?),
        };
        let [of_w, of_x, of_out] = plan.layouts;
        let (one, nothing) = (1.0f32, 0.0f32);
        let workspace = self.workspace.device_ptr(&self.stream).0;
        // SAFETY: the plan's parts live, the matrices are as large as the product says, and the stream keeps the order.
        unsafe {
            result::matmul(
                self.handle,
                plan.description,
                std::ptr::from_ref(&one).cast(),
                std::ptr::from_ref(&nothing).cast(),
                w as *const c_void,
                of_w,
                x as *const c_void,
                of_x,
                out as *const c_void,
                of_out,
                out as *mut c_void,
                of_out,
                &raw const plan.algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                self.stream.cu_stream().cast(),
            )
        }
        .map_err(failed)
    }

    /// The library counts columns first: what is row-major here is turned there.
    fn plan(&self, product: Product) -> Result<Plan, CublasError> {
        let Product { n, rows, columns, pitches: (of_x, of_w, of_out) } = product;
        let layout = |kind, rows: usize, columns: usize, pitch: usize| {
            result::create_matrix_layout(kind, rows as u64, columns as u64, i64::try_from(pitch).unwrap_or(i64::MAX))
        };
        let (half, single) = (sys::cudaDataType_t::CUDA_R_16BF, sys::cudaDataType_t::CUDA_R_32F);
        let layouts =
            [layout(half, columns, rows, of_w)?, layout(half, columns, n, of_x)?, layout(single, rows, n, of_out)?];
        let description = result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, single)?;
        let preference = result::create_matmul_pref()?;
        // The number of CUBLAS_OP_T.
        let turned = 1i32;
        // SAFETY: the parts were just made; each attribute is given as the type that it has.
        let heuristic = unsafe {
            result::set_matmul_desc_attribute(
                description,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                std::ptr::from_ref(&turned).cast(),
                size_of_val(&turned),
            )?;
            result::set_matmul_pref_attribute(
                preference,
                sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                std::ptr::from_ref(&WORKSPACE).cast(),
                size_of_val(&WORKSPACE),
            )?;
            let [w, x, out] = layouts;
            let heuristic = result::get_matmul_algo_heuristic(self.handle, description, w, x, out, out, preference);
            result::destroy_matmul_pref(preference)?;
            heuristic?
        };
        Ok(Plan { description, layouts, algorithm: heuristic.algo })
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        // The stream may still use what is given back.
        let _ = self.stream.synchronize();
        // SAFETY: nobody else has these; what can not be given back is the library's loss alone.
        unsafe {
            for plan in self.plans.borrow().values() {
                let _ = result::destroy_matmul_desc(plan.description);
                for layout in plan.layouts {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
            let _ = result::destroy_handle(self.handle);
        }
    }
}
