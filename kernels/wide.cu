// Experts of many tokens on Hopper (compute capability 9.0), whose warp groups multiply tiles of shared memory by themselves.
//
// A block of two warp groups takes a tile of 128 pairs by 256 rows of weights, 64 inner places at a time: two such steps are on their
// way from memory while one is multiplied. A group takes 64 pairs by all rows. For `gate` and `up` the rows are 128 of each, the same
// ones, so that a thread has both sides of its products. Weights are bfloat16, activations their high plane.

#define STEP 64
#define STAGES 4
#define STAGE ((128 + 256) * STEP)

// Where chunk `chunk` of 8 numbers of a line lies: lines of 128 bytes, whose chunks are exchanged so that eight lines' equal chunks
// lie in different banks. Tiles begin at multiples of 1,024 bytes.
__device__ __forceinline__ int place_of(int line, int chunk) { return line * STEP + 8 * (chunk ^ (line % 8)); }

// Names such a tile to the tensor cores: its beginning and the way from eight lines to the next in units of 16 bytes, and that chunks
// are exchanged.
__device__ __forceinline__ u64 tile_at(const u16* tile) {
    return (u64)((shared_address(tile) & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// d[64 x 256] += a[64 x 16] · b[16 x 256], by a warp group. Of a thread, d[4j], d[4j + 1] are columns 8j + 2t, 8j + 2t + 1 of row g of
// its warp's 16 rows, d[4j + 2], d[4j + 3] those of row g + 8.
__device__ __forceinline__ void multiply(float (&d)[128], u64 a, u64 b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
        "%128, %129, 1, 1, 1, 0, 0;"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
          "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
          "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
          "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
          "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
          "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
          "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
          "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
          "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
          "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
          "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
          "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
        : "l"(a), "l"(b));
}

template <bool UP>
__device__ __forceinline__ void grouped(const Pairs& p, const u16* x, int x_pitch, u16* inner, int pitch, float* parts, int width) {
    after_previous();
    u16* room = (u16*)(((u64)dynamic_memory + 1023) / 1024 * 1024);
    if ((int)blockIdx.x >= p.counts[1]) return;
    int expert = p.tiles[2 * blockIdx.x], first = p.tiles[2 * blockIdx.x + 1];
    if (expert == p.number && !p.shared) return;
    const Expert& block = p.experts[expert];
    const Matrix a_side = UP ? block.gate : block.down, b_side = UP ? block.up : block.down;
    int row = (UP ? 128 : 256) * blockIdx.y, count = min(128, p.starts[expert + 1] - first);
    if (row >= a_side.rows) return;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, half = warp / 4;
    // Each thread copies a chunk of every 32nd line: four of the activations and eight of the weights a step.
    int line = threadIdx.x / 8, chunk = threadIdx.x % 8, place = place_of(line, chunk);
    const u16 *from_x[4], *from_w[8];
    int there[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        int pair = p.order[first + min(line + 32 * i, count - 1)];
        from_x[i] = x + (long long)(UP ? token_of(p, pair) : pair) * x_pitch + 8 * chunk;
        there[i] = line + 32 * i < count ? 16 : 0;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const Matrix& m = i < 4 || !UP ? a_side : b_side;
        int wanted = min(row + line + 32 * (UP ? i % 4 : i), m.rows - 1);
        from_w[i] = (const u16*)(m.codes + (long long)wanted * m.pitch) + 8 * chunk;
    }
    int steps = (a_side.columns + STEP - 1) / STEP;
    auto load = [&](int step) {
        if (step < steps) {
            u16* at = room + step % STAGES * STAGE + place;
#pragma unroll
            for (int i = 0; i < 4; ++i) copy16(at + 32 * i * STEP, from_x[i] + step * STEP, there[i]);
#pragma unroll
            for (int i = 0; i < 8; ++i) copy16(at + (128 + 32 * i) * STEP, from_w[i] + step * STEP, 16);
        }
        copies_end();
    };
    float sums[128];
#pragma unroll
    for (int i = 0; i < 128; ++i) sums[i] = 0.0f;
    bool busy = 64 * half < count;
    load(0);
    load(1);
    for (int step = 0; step < steps; ++step) {
        copies_wait<1>();
        // What threads copied is seen by the tensor cores. All products but the last step's are done, so that their memory is free.
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();
        if (busy) {
            const u16* tile = room + step % STAGES * STAGE;
            u64 a = tile_at(tile + 64 * half * STEP), b = tile_at(tile + 128 * STEP);
            asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
            for (int k = 0; k < STEP / 16; ++k) multiply(sums, a + 2 * k, b + 2 * k);
            asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        }
        load(step + 2);
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    // Nothing is read of the sums before this point.
#pragma unroll
    for (int i = 0; i < 128; ++i) asm volatile("" : "+f"(sums[i])::"memory");
    int routed = p.n * p.chosen;
#pragma unroll
    for (int lower = 0; lower < 2; ++lower) {
        int within = 16 * warp + g + 8 * lower;
        if (within >= count) continue;
        int pair = p.order[first + within];
        if (UP) {
            u16* to = inner + (long long)pair * pitch + row + 2 * t;
#pragma unroll
            for (int j = 0; j < 16; ++j) {
                if (row + 8 * j + 2 * t >= a_side.rows) continue;
                float u = silu(sums[4 * j + 2 * lower]) * sums[4 * (j + 16) + 2 * lower];
                float v = silu(sums[4 * j + 2 * lower + 1]) * sums[4 * (j + 16) + 2 * lower + 1];
                *(u32*)(to + 8 * j) = bf16_pair(u, v);
            }
        } else {
            float weight = pair < routed ? p.weights[pair] : 1.0f;
            int part = pair < routed ? pair % p.chosen : p.chosen;
            float* to = parts + ((long long)part * p.n + token_of(p, pair)) * width + row + 2 * t;
#pragma unroll
            for (int j = 0; j < 32; ++j)
                if (row + 8 * j + 2 * t < a_side.rows)
                    *(float2*)(to + 8 * j) = make_float2(weight * sums[4 * j + 2 * lower], weight * sums[4 * j + 2 * lower + 1]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) wide_up(Pairs p, const u16* x, int x_pitch, u16* inner, int pitch) {
    grouped<true>(p, x, x_pitch, inner, pitch, nullptr, 0);
}
extern "C" __global__ void __launch_bounds__(256, 1) wide_down(Pairs p, const u16* inner, int pitch, float* parts, int width) {
    grouped<false>(p, inner, pitch, nullptr, 0, parts, width);
}
