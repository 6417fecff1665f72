// Linear maps of few tokens, and what larger ones need around the library's products.

// Where a linear map writes: rows of numbers, which it may add to, or planes.
struct Output {
    float* values;
    u16* planes;
    long long low;
    int width, pitch, add, unused;
};

// out[n, rows] = x · Wᵀ + bias. The warps of a block share the inner places of 16 rows; blocks along y take 8 · TILES tokens.
// With `heads`, the rows of a head are `value` of every `each` rows from `skip` on, and meet a part of x of their own: that is
// how multi-head latent attention's mixes become values.
template <int FORMAT, int TILES, class Source>
__device__ __forceinline__ void linear(const Matrix& m, const float* bias, Input input, Output out, int n, int value, int each,
                                       int skip) {
    float* room = (float*)dynamic_memory;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
    int row = 16 * blockIdx.x, column = row, rows = m.rows;
    if (value) {
        int tiles = (value + 15) / 16, head = blockIdx.x / tiles, within = 16 * (blockIdx.x % tiles);
        row = head * each + skip + within;
        rows = head * each + skip + value;
        column = head * value + within;
        input.planes += head * m.columns;
    }
    float *squares = room + warps * TILES * 128, sums[1][TILES][4] = {};
    int first = 8 * TILES * blockIdx.y, tokens[TILES], from, to;
#pragma unroll
    for (int j = 0; j < TILES; ++j) tokens[j] = min(first + 8 * j + g, n - 1);
    share<FORMAT>(m.columns, warps, warp, from, to);
    const Matrix all[1] = {m};
    if (Source::NORMED && blockIdx.x < 8) fetch_lines(input.weight, 4 * m.columns);
    Source x;
    if constexpr (TILES == 1) {
        Streamed<FORMAT, 1> weights;
        weights.begin(all, row, from, to, squares + 8 * warps);
        after_previous();
        find(input, m.columns, tokens, x);
        weights.end(x, sums);
    } else {
        fetch_rows(m.codes, m.pitch, row, rows);
        after_previous();
        find(input, m.columns, tokens, x);
        product<FORMAT, TILES, 1>(all, row, from, to, x, sums);
    }
    gather<TILES>(sums[0], room, x, squares);
    for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
        int within = entry % 128 / 8, at = first + 8 * (entry / 128) + entry % 8;
        if (at >= n || row + within >= rows) continue;
        float sum = gathered<TILES>(room, warps, entry);
        if (Source::NORMED) sum *= factor_of(squares, warps, entry % 8, m.columns, input.epsilon);
        if (FORMAT == INT8) sum *= m.scales[row + within];
        if (bias) sum += bias[row + within];
        if (out.values) {
            float* to = out.values + (long long)at * out.width + column + within;
            *to = out.add ? *to + sum : sum;
        }
        if (out.planes) {
            u16* place = out.planes + (long long)at * out.pitch + column + within;
            split(sum, place, place + out.low);
        }
    }
}

// Blocks have at most 512 threads; those with one tile leave each other registers for three of 256 at once.
#define LINEAR(NAME, FORMAT, TILES, SOURCE, THREADS)                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                               \
        linear_##NAME(Matrix m, const float* bias, Input input, Output out, int n, int value, int each, int skip) {      \
        linear<FORMAT, TILES, SOURCE>(m, bias, input, out, n, value, each, skip);                                       \
    }
#define LINEARS(NAME, FORMAT)                                                                                     \
    LINEAR(NAME##_1, FORMAT, 1, Planes<1>, 768) LINEAR(NAME##_2, FORMAT, 2, Planes<2>, 512)                        \
    LINEAR(NAME##_4, FORMAT, 4, Planes<4>, 512) LINEAR(NAME##_normed, FORMAT, 1, Normed, 768)
LINEARS(bf16, BF16) LINEARS(int8, INT8) LINEARS(int4, INT4) LINEARS(exact, EXACT)

// A matrix of any format as bfloat16, rows `pitch` numbers apart.
extern "C" __global__ void spread(Matrix m, u16* out, int pitch) {
    after_previous();
    int row = blockIdx.x;
    for (int column = 8 * threadIdx.x; column < m.columns; column += 8 * blockDim.x) {
        float v[8];
        eight(m, row, column, v);
        *(uint4*)(out + (long long)row * pitch + column) =
            make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
    }
}

extern "C" __global__ void add_bias(float* out, int width, const float* bias, int rows) {
    after_previous();
    for (int row = threadIdx.x; row < rows; row += blockDim.x) out[(long long)blockIdx.x * width + row] += bias[row];
}

// out[token, first..] += scale · up · down · x for the tokens from `start` on: a low-rank adapter's part.
extern "C" __global__ void adapt(Matrix down, Matrix up, const u16* x, int x_pitch, long long x_low, float* out, int out_width,
                                 int start, int first, float scale) {
    after_previous();
    float* inner = (float*)dynamic_memory;
    long long token = start + blockIdx.x;
    const u16* line = x + token * x_pitch;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int row = warp; row < down.rows; row += blockDim.x / 32) {
        float sum = 0.0f;
        for (int column = 8 * lane; column < down.columns; column += 256) {
            float v[8];
            eight(down, row, column, v);
            for (int i = 0; i < 8; ++i) sum += v[i] * (bf16_value(line[column + i]) + bf16_value(line[x_low + column + i]));
        }
        sum = warp_sum(sum);
        if (lane == 0) inner[row] = sum;
    }
    __syncthreads();
    for (int row = threadIdx.x; row < up.rows; row += blockDim.x) {
        float sum = 0.0f;
        for (int column = 0; column < up.columns; column += 8) {
            float v[8];
            eight(up, row, column, v);
            for (int i = 0; i < 8 && column + i < up.columns; ++i) sum += v[i] * inner[column + i];
        }
        out[token * out_width + first + row] += scale * sum;
    }
}

// Number `index` of the weights that are drawn with `seed`: `draw` in `weights/random.rs` draws the same.
__device__ __forceinline__ u32 drawn(u64 seed, u64 index) {
    u64 z = seed + 0x9e3779b97f4a7c15ull * (index + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (u32)((z ^ (z >> 31)) >> 32);
}

// Draws bytes of codes (`kind` INT8, INT4) or bfloat16 numbers up to `size`, row by row; each number of draws fills 4 bytes.
extern "C" __global__ void draw(u8* out, int words, long long pitch, int kind, float size, u64 seed) {
    after_previous();
    u64 row = blockIdx.x;
    for (int word = threadIdx.x; word < words; word += blockDim.x) {
        u32 bits = drawn(seed, row * words + word);
        if (kind == BF16) {
            float low = (float)(bits & 0xffff) / 32767.5f - 1.0f, high = (float)(bits >> 16) / 32767.5f - 1.0f;
            bits = bf16_pair(low * size, high * size);
        }
        *(u32*)(out + row * pitch + 4 * word) = bits;
    }
}
