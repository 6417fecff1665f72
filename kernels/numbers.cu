// What all kernels share: numbers of 16 bits, products of small tiles on tensor cores, weights in their formats and on their way to
// a warp, and the exchange of values between the threads of a block. Before every other file; uses no header at all.
//
// Activations that meet weights are kept as two planes of bfloat16, `x = high + low`, 16 bits of fraction together: products
// with both planes are as exact as those of float32 activations with the same weights, and run on tensor cores.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INFINITE __int_as_float(0x7f800000)

// What a launch asks for beside a kernel's own shared memory.
extern __shared__ uint4 dynamic_memory[];

// ---- bfloat16 ----

__device__ __forceinline__ float bf16_low(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float bf16_high(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
__device__ __forceinline__ float bf16_value(u16 bits) { return __uint_as_float((u32)bits << 16); }

// Two numbers as a pair, `first` in the lower half, rounded to the nearest.
__device__ __forceinline__ u32 bf16_pair(float first, float second) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

__device__ __forceinline__ u16 bf16_bits(float value) { return (u16)(bf16_pair(value, 0.0f) & 0xffffu); }

// Writes `value` to both planes.
__device__ __forceinline__ void split(float value, u16* high, u16* low) {
    u16 bits = bf16_bits(value);
    *high = bits;
    *low = bf16_bits(value - bf16_value(bits));
}

// ---- Order ----

// A kernel may start while the one before it runs (programmatic dependent launch): what it does before `after_previous` may
// read weights, and what the kernel before the last one wrote. Every thread of every kernel passes here.
__device__ __forceinline__ void after_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Asks for so many bytes of weights, a multiple of 16, so that they are on their way while the kernel before this one ends.
__device__ __forceinline__ void fetch(const u8* from, long long bytes) {
#if __CUDA_ARCH__ >= 900
    if (bytes > 0) asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"((u32)bytes));
#endif
}

// Asks for 16 rows of weights. Kernels of more blocks than run at once do better without: they are bound by the memory as it is.
__device__ __forceinline__ void fetch_rows(const u8* codes, long long pitch, int row, int rows) {
    if (threadIdx.x < 16 && row + (int)threadIdx.x < rows && gridDim.x * gridDim.y * gridDim.z <= 1024)
        fetch(codes + (long long)(row + threadIdx.x) * pitch, pitch);
}

// The same of a few lines of anything else that is older than the kernel before.
__device__ __forceinline__ void fetch_lines(const void* from, int bytes) {
    for (int at = 128 * threadIdx.x; at < bytes; at += 128 * blockDim.x)
        asm volatile("prefetch.global.L2 [%0];" ::"l"((const u8*)from + at));
}

// ---- Memory ----

// 16 bytes of weights, which are read once: they need no place in the first cache.
__device__ __forceinline__ uint4 stream16(const void* address) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(address));
    return v;
}

__device__ __forceinline__ u32 shared_address(const void* pointer) { return (u32)__cvta_generic_to_shared(pointer); }

// Copies 16 bytes to shared memory in the background; `bytes` of 0 writes zeros.
__device__ __forceinline__ void copy16(void* to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void copies_end() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> __device__ __forceinline__ void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT)); }

// ---- Tensor cores ----

// c[16 x 8] += a[16 x 16] · b[16 x 8]. Of lane `l`, g = l / 4 and t = l % 4: a holds rows g, g + 8 at inner places 2t, 2t + 1
// and again at 2t + 8, 2t + 9; b the same places of column g; c rows g (0, 1) and g + 8 (2, 3) of columns 2t, 2t + 1.
__device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Four 8 x 8 tiles of shared memory; lanes 8i..8i+7 name the rows of tile i.
__device__ __forceinline__ void tiles4(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)) : "memory");
}
__device__ __forceinline__ void tiles4_turned(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)) : "memory");
}

// ---- Warps ----

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(0xffffffffu, value, lane);
    return value;
}

__device__ __forceinline__ float warp_highest(float value) {
#pragma unroll
    for (int lane = 16; lane > 0; lane >>= 1) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, lane));
    return value;
}

// The sum over a block of at most 32 warps, for every thread.
__device__ __forceinline__ float block_sum(float value) {
    __shared__ float sums[32];
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
    __syncthreads();
    float all = 0.0f;
    for (int warp = 0; warp < (int)(blockDim.x + 31) / 32; ++warp) all += sums[warp];
    return all;
}

// Whether this block is the last of `blocks` to come here; what the others wrote before is then visible. The counter is
// ready for the next time.
__device__ __forceinline__ bool last_block(u32* counter, u32 blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicInc(counter, blocks - 1) == blocks - 1;
    __syncthreads();
    if (last) __threadfence();
    return last;
}

// ---- Functions ----

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

// A pair of a head that turns together.
__device__ __forceinline__ void pair_of(int pair, int pairs, int neighbours, int& a, int& b) {
    a = neighbours ? 2 * pair : pair;
    b = neighbours ? 2 * pair + 1 : pair + pairs;
}

// ---- Weights ----

// EXACT: numbers in two planes of bfloat16.
enum { BF16 = 0, INT8 = 1, INT4 = 2, EXACT = 3 };

// A matrix [rows, columns], row-major; rows are `pitch` bytes apart and end in zeros up to a multiple of 64 columns. The low plane of
// EXACT lies behind all rows of the high one.
struct Matrix {
    const u8* codes;
    const float* scales;  // INT8: a row's; INT4: [rows, columns / 128] of a scale and a zero
    int rows, columns;
    long long pitch;
    int format, unused;
};

// Four signed bytes as two pairs.
__device__ __forceinline__ void widen8(u32 word, u32& first, u32& second) {
    word ^= 0x80808080u;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7650 + i)) - 8388736.0f;
    first = bf16_pair(v[0], v[1]);
    second = bf16_pair(v[2], v[3]);
}

// Two codes of 4 bits in bits 0-3 and 16-19 as a pair, less their zero: `offset` is the pair of -(128 + zero).
__device__ __forceinline__ u32 widen4(u32 word, u32 offset) {
    u32 pair = (word & 0x000f000fu) | 0x43004300u, out;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(pair), "r"(0x3f803f80u), "r"(offset));
    return out;
}

// Eight neighbouring numbers of a row, from a multiple of 8 on.
__device__ __forceinline__ void eight(const Matrix& m, int row, int column, float (&out)[8]) {
    const u8* line = m.codes + (long long)row * m.pitch;
    if (m.format == BF16 || m.format == EXACT) {
        uint4 v = *(const uint4*)(line + 2 * column);
        uint4 l = m.format == EXACT ? *(const uint4*)(line + m.rows * m.pitch + 2 * column) : make_uint4(0, 0, 0, 0);
        u32 w[4] = {v.x, v.y, v.z, v.w}, rest[4] = {l.x, l.y, l.z, l.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            out[2 * i] = bf16_low(w[i]) + bf16_low(rest[i]);
            out[2 * i + 1] = bf16_high(w[i]) + bf16_high(rest[i]);
        }
    } else if (m.format == INT8) {
        uint2 v = *(const uint2*)(line + column);
        float scale = m.scales[row];
#pragma unroll
        for (int i = 0; i < 8; ++i) out[i] = scale * (float)(signed char)(((i < 4 ? v.x : v.y) >> (8 * (i % 4))) & 255);
    } else {
        int group = column / 128, within = column % 128, groups = m.columns / 128;
        uint2 v = *(const uint2*)(line + 64 * group + within % 64);
        const float* pair = m.scales + 2 * ((long long)row * groups + group);
        float scale = pair[0], zero = pair[1];
        int shift = within < 64 ? 0 : 4;
#pragma unroll
        for (int i = 0; i < 8; ++i) out[i] = scale * ((float)((((i < 4 ? v.x : v.y) >> (8 * (i % 4))) >> shift) & 15) - zero);
    }
}

// ---- Weights on their way ----

// Inner places that a warp takes at once; a warp's share of a row is a multiple of it.
template <int FORMAT> struct Unit { static const int size = FORMAT == INT8 ? 64 : FORMAT == INT4 ? 128 : 32; };

// One unit of weights: this lane's 16 bytes of rows g and g + 8 of each matrix, and of INT4 their scales and zeros.
template <int FORMAT, int COUNT> struct Piece {
    uint4 codes[COUNT][2];
    float2 scales[COUNT][2];
};

// Where this lane reads rows `row + g` and `row + g + 8` of matrices; rows that a matrix does not have are the last one's.
template <int FORMAT, int COUNT> struct Lines {
    const u8* codes[COUNT][2];
    const float* scales[COUNT][2];

    __device__ __forceinline__ void find(const Matrix (&m)[COUNT], int row) {
#pragma unroll
        for (int c = 0; c < COUNT; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                long long at = min(row + (int)threadIdx.x % 32 / 4 + 8 * r, m[c].rows - 1);
                codes[c][r] = m[c].codes + at * m[c].pitch + 16 * (threadIdx.x % 4);
                if (FORMAT == INT4) scales[c][r] = m[c].scales + at * (m[c].columns / 64);
            }
        }
    }
};

// The formats that products are made of: EXACT ones are two of bfloat16.
template <int FORMAT> struct Made {
    static const int of = FORMAT == EXACT ? BF16 : FORMAT, planes = FORMAT == EXACT ? 2 : 1;
};
template <int FORMAT, int COUNT>
__device__ __forceinline__ void planes_of(const Matrix (&m)[COUNT], Matrix (&all)[COUNT * Made<FORMAT>::planes]) {
#pragma unroll
    for (int c = 0; c < COUNT * Made<FORMAT>::planes; ++c) {
        all[c] = m[c % COUNT];
        if (c >= COUNT) all[c].codes += m[c % COUNT].rows * m[c % COUNT].pitch;
    }
}
// Bytes of shared memory that weights on their way to a warp take.
#define WAY 8192

// Units of weights on their way through shared memory to a warp. Each lane copies the very bytes that it reads, so that no thread waits
// for another; and it may ask for the first ones before the kernel before this one has ended. Units are counted from the first
// that is asked for.
template <int FORMAT, int COUNT> struct Way {
    static const int slots = (FORMAT == INT4 ? 4 : 8) / COUNT > 0 ? (FORMAT == INT4 ? 4 : 8) / COUNT : 1;
    // Units that are used together, so that what they need of the tokens is read at once.
    static const int batch = FORMAT == BF16 && slots >= 2 ? slots / 2 : 1;
    u32 room;

    __device__ __forceinline__ void open(void* all) { room = shared_address((u8*)all + threadIdx.x / 32 * WAY); }

    // Asks for unit `unit` of `lines`, or for zeros, as the `number`-th.
    __device__ __forceinline__ void ask(const Lines<FORMAT, COUNT>& lines, int number, int unit, bool there) {
        u32 slot = room + number % slots * COUNT * (FORMAT == INT4 ? 1536 : 1024), lane = threadIdx.x % 32;
#pragma unroll
        for (int c = 0; c < COUNT; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(slot + (2 * c + r) * 512 + 16 * lane),
                             "l"(lines.codes[c][r] + (there ? 64 * unit : 0)), "r"(there ? 16 : 0));
                if (FORMAT == INT4)
                    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(slot + COUNT * 1024 + (2 * c + r) * 256 + 8 * lane),
                                 "l"(lines.scales[c][r] + (there ? 2 * unit : 0)), "r"(there ? 8 : 0));
            }
        }
        copies_end();
    }

    // Reads the `number`-th unit, which has come.
    __device__ __forceinline__ void take(int number, Piece<FORMAT, COUNT>& piece) {
        u32 slot = room + number % slots * COUNT * (FORMAT == INT4 ? 1536 : 1024), lane = threadIdx.x % 32;
#pragma unroll
        for (int c = 0; c < COUNT; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                uint4& v = piece.codes[c][r];
                asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                             : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                             : "r"(slot + (2 * c + r) * 512 + 16 * lane));
                float2& s = piece.scales[c][r];
                if (FORMAT == INT4)
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(s.x), "=f"(s.y) : "r"(slot + COUNT * 1024 + (2 * c + r) * 256 + 8 * lane));
            }
        }
    }
};
