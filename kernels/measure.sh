#!/usr/bin/env bash
# Checks every kernel on this machine's GPU against the processor, and measures decoding: the table of README.md.
#
#   kernels/measure.sh [TESTS CANDOR]
#
# TESTS is the engine's test program (`cargo test --release -p candor-engine --lib --no-run` says where it is), CANDOR the
# program itself; without them both are built here. NVRTC and cuBLASLt are looked for in the toolkit and in Python's
# packages (nvidia-cuda-nvrtc, nvidia-cublas).
set -euo pipefail
cd "$(dirname "$0")/.."

libraries=$(python3 - <<'P' 2>/dev/null || true
import glob, os, nvidia
print(":".join(glob.glob(os.path.join(list(nvidia.__path__)[0], "*", "lib"))))
P
)
export LD_LIBRARY_PATH="$libraries:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}"
# Without a GPU this must fail, not pass over.
export CANDOR_GPU_TESTS=1

tests=${1:-} candor=${2:-}
if [ -z "$candor" ]; then
  cargo build --release --locked -p candor
  candor="${CARGO_TARGET_DIR:-target}/release/candor"
  tests=$(cargo test --release --locked -p candor-engine --lib --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*candor_engine[^"]*\)".*/\1/p' | tail -1)
fi

echo "== $(date -u +%F) $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)"
"$tests" backend::cuda::tests --nocapture --test-threads 1
"$tests" backend::cuda::encoder --nocapture --test-threads 1 --include-ignored
if command -v compute-sanitizer >/dev/null; then
  compute-sanitizer --tool memcheck --error-exitcode 9 "$tests" backend::cuda::tests --test-threads 1
  compute-sanitizer --tool racecheck --error-exitcode 9 "$tests" backend::cuda::tests::grouped --test-threads 1
fi

bench() { "$candor" bench decode --device cuda --random-weights --batch 1,8,32,128 --context 1024 --prompt 8192 "$@"; }
bench --shape qwen3-30b-a3b --format bf16
bench --shape qwen3-30b-a3b --format int4
bench --shape deepseek-v2-lite --format bf16
# A long context: read in pieces of 8,192, then gone on with.
"$candor" bench decode --device cuda --random-weights --shape qwen3-30b-a3b --format int4 --context 200000 --prompt 200000
# Understanding: latency and throughput, from texts and from tokens.
"$candor" bench understand --device cuda
