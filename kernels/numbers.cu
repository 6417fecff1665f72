// What all kernels share: numbers of 16 bits, products of small tiles on tensor cores, weights in their formats, and the
// exchange of values between the threads of a block. Included before every other file; uses no header at all.
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

// Asks for 16 rows of weights, so that they are on their way while the kernel before this one ends. Kernels of more blocks
// than run at once do better without: they are bound by the memory as it is.
__device__ __forceinline__ void fetch_rows(const unsigned char* codes, long long pitch, int row, int rows) {
#if __CUDA_ARCH__ >= 900
    if (threadIdx.x < 16 && row + (int)threadIdx.x < rows && gridDim.x * gridDim.y * gridDim.z <= 1024)
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(codes + (long long)(row + threadIdx.x) * pitch), "r"((u32)pitch));
#endif
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

// ---- Weights ----

enum { BF16 = 0, INT8 = 1, INT4 = 2 };

// A matrix [rows, columns], row-major; rows are `pitch` bytes apart and end in zeros up to a multiple of 64 columns.
struct Matrix {
    const u8* codes;
    const float* scales;  // INT8: a row's; INT4: [rows, columns / 128]
    const u8* zeros;      // INT4: as the scales
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
    if (m.format == BF16) {
        uint4 v = *(const uint4*)(line + 2 * column);
        u32 w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            out[2 * i] = bf16_low(w[i]);
            out[2 * i + 1] = bf16_high(w[i]);
        }
    } else if (m.format == INT8) {
        uint2 v = *(const uint2*)(line + column);
        float scale = m.scales[row];
#pragma unroll
        for (int i = 0; i < 8; ++i) out[i] = scale * (float)(signed char)(((i < 4 ? v.x : v.y) >> (8 * (i % 4))) & 255);
    } else {
        int group = column / 128, within = column % 128, groups = m.columns / 128;
        uint2 v = *(const uint2*)(line + 64 * group + within % 64);
        float scale = m.scales[(long long)row * groups + group], zero = (float)m.zeros[(long long)row * groups + group];
        int shift = within < 64 ? 0 : 4;
#pragma unroll
        for (int i = 0; i < 8; ++i) out[i] = scale * ((float)((((i < 4 ? v.x : v.y) >> (8 * (i % 4))) >> shift) & 15) - zero);
    }
}

// Inner places that a warp takes at once; a warp's share of a row is a multiple of it.
template <int FORMAT> struct Unit { static const int size = FORMAT == BF16 ? 32 : FORMAT == INT8 ? 64 : 128; };

// sums[j][16 x 8] += rows `row`..`row + 15` of `m`, from inner place `from` to `to`, times up to 8 tokens: `x[j]` is the row of
// the token of this lane's column in its high plane (nothing where there is none), the low one lies `low` numbers further.
// Rows that the matrix does not have give the last one's values. Inner places may be taken in any order as long as both
// sides agree: each lane reads 16 neighbouring bytes.
template <int FORMAT, int TILES>
__device__ __forceinline__ void product(const Matrix& m, int row, int from, int to, const u16* const (&x)[TILES],
                                        long long low, float (&sums)[TILES][4]) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int upper = min(row + g, m.rows - 1), lower = min(row + g + 8, m.rows - 1);
    const u8* first = m.codes + (long long)upper * m.pitch;
    const u8* second = m.codes + (long long)lower * m.pitch;
    const uint4 none = make_uint4(0, 0, 0, 0);
    if (FORMAT == BF16) {
        for (int k = from; k < to; k += 128) {
            uint4 a[4][2];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                bool there = k + 32 * i < to;
                a[i][0] = there ? stream16(first + 2 * (k + 32 * i + 8 * t)) : none;
                a[i][1] = there ? stream16(second + 2 * (k + 32 * i + 8 * t)) : none;
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if (k + 32 * i >= to) break;
#pragma unroll
                for (int j = 0; j < TILES; ++j) {
                    const u16* place = x[j] + k + 32 * i + 8 * t;
                    uint4 h = x[j] ? *(const uint4*)place : none, l = x[j] ? *(const uint4*)(place + low) : none;
                    mma(sums[j], a[i][0].x, a[i][1].x, a[i][0].y, a[i][1].y, h.x, h.y);
                    mma(sums[j], a[i][0].z, a[i][1].z, a[i][0].w, a[i][1].w, h.z, h.w);
                    mma(sums[j], a[i][0].x, a[i][1].x, a[i][0].y, a[i][1].y, l.x, l.y);
                    mma(sums[j], a[i][0].z, a[i][1].z, a[i][0].w, a[i][1].w, l.z, l.w);
                }
            }
        }
    } else if (FORMAT == INT8) {
        for (int k = from; k < to; k += 128) {
            uint4 a[2][2];
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                bool there = k + 64 * i < to;
                a[i][0] = there ? stream16(first + k + 64 * i + 16 * t) : none;
                a[i][1] = there ? stream16(second + k + 64 * i + 16 * t) : none;
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                if (k + 64 * i >= to) break;
                u32 w[2][4] = {{a[i][0].x, a[i][0].y, a[i][0].z, a[i][0].w}, {a[i][1].x, a[i][1].y, a[i][1].z, a[i][1].w}};
#pragma unroll
                for (int s = 0; s < 4; ++s) {
                    u32 a0, a1, a2, a3;
                    widen8(w[0][s], a0, a2);
                    widen8(w[1][s], a1, a3);
#pragma unroll
                    for (int j = 0; j < TILES; ++j) {
                        const u16* place = x[j] + k + 64 * i + 16 * t + 4 * s;
                        uint2 h = x[j] ? *(const uint2*)place : make_uint2(0, 0);
                        uint2 l = x[j] ? *(const uint2*)(place + low) : make_uint2(0, 0);
                        mma(sums[j], a0, a1, a2, a3, h.x, h.y);
                        mma(sums[j], a0, a1, a2, a3, l.x, l.y);
                    }
                }
            }
        }
    } else {
        int groups = m.columns / 128;
        for (int k = from; k < to; k += 128) {
            int group = k / 128;
            uint4 a0 = stream16(first + 64 * group + 16 * t), a1 = stream16(second + 64 * group + 16 * t);
            long long at0 = (long long)upper * groups + group, at1 = (long long)lower * groups + group;
            float scale0 = m.scales[at0], scale1 = m.scales[at1];
            float z0 = -128.0f - (float)m.zeros[at0], z1 = -128.0f - (float)m.zeros[at1];
            u32 offset0 = bf16_pair(z0, z0), offset1 = bf16_pair(z1, z1);
            u32 w[2][4] = {{a0.x, a0.y, a0.z, a0.w}, {a1.x, a1.y, a1.z, a1.w}};
            float part[TILES][4];
#pragma unroll
            for (int j = 0; j < TILES; ++j) part[j][0] = part[j][1] = part[j][2] = part[j][3] = 0.0f;
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int s = 0; s < 4; ++s) {
                    u32 p0 = widen4(w[0][s] >> (4 * half), offset0), p2 = widen4(w[0][s] >> (4 * half + 8), offset0);
                    u32 p1 = widen4(w[1][s] >> (4 * half), offset1), p3 = widen4(w[1][s] >> (4 * half + 8), offset1);
#pragma unroll
                    for (int j = 0; j < TILES; ++j) {
                        const u16* place = x[j] + k + 64 * half + 16 * t + 4 * s;
                        uint2 h = x[j] ? *(const uint2*)place : make_uint2(0, 0);
                        uint2 l = x[j] ? *(const uint2*)(place + low) : make_uint2(0, 0);
                        mma(part[j], p0, p1, p2, p3, __byte_perm(h.x, h.y, 0x5410), __byte_perm(h.x, h.y, 0x7632));
                        mma(part[j], p0, p1, p2, p3, __byte_perm(l.x, l.y, 0x5410), __byte_perm(l.x, l.y, 0x7632));
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < TILES; ++j) {
                sums[j][0] += scale0 * part[j][0];
                sums[j][1] += scale0 * part[j][1];
                sums[j][2] += scale1 * part[j][2];
                sums[j][3] += scale1 * part[j][3];
            }
        }
    }
}

// This warp's share of `columns` inner places, of `warps`.
template <int FORMAT> __device__ __forceinline__ void share(int columns, int warps, int warp, int& from, int& to) {
    int unit = Unit<FORMAT>::size, units = (columns + unit - 1) / unit, each = (units + warps - 1) / warps;
    from = min(units, warp * each) * unit;
    to = min(units, (warp + 1) * each) * unit;
}

// Adds what the warps of a block found, in their order: entry `e` of 128 · TILES is row (e / 8) % 16 of token 8 · (e / 128) + e % 8.
// `room` holds warps · TILES · 128 numbers.
template <int TILES> __device__ __forceinline__ void gather(float (&sums)[TILES][4], float* room) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
        float* tile = room + (warp * TILES + j) * 128;
        *(float2*)(tile + 8 * g + 2 * t) = make_float2(sums[j][0], sums[j][1]);
        *(float2*)(tile + 8 * (g + 8) + 2 * t) = make_float2(sums[j][2], sums[j][3]);
    }
    __syncthreads();
}

template <int TILES> __device__ __forceinline__ float gathered(const float* room, int warps, int entry) {
    float sum = 0.0f;
    for (int warp = 0; warp < warps; ++warp) sum += room[warp * TILES * 128 + entry];
    return sum;
}

__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ __forceinline__ float silu(float x) { return x / (1.0f + __expf(-x)); }

// Defines a kernel for each format and number of tiles of eight tokens.
#define FOR_EACH_KIND(DEFINE)                                                 \
    DEFINE(bf16_1, BF16, 1) DEFINE(bf16_2, BF16, 2) DEFINE(bf16_4, BF16, 4)   \
    DEFINE(int8_1, INT8, 1) DEFINE(int8_2, INT8, 2) DEFINE(int8_4, INT8, 4)   \
    DEFINE(int4_1, INT4, 1) DEFINE(int4_2, INT4, 2) DEFINE(int4_4, INT4, 4)
