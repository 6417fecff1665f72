// Linear maps of few tokens, and what larger ones need around the library's products.

// out[n, rows] = x · Wᵀ + bias. The warps of a block share the inner places of 16 rows; blocks along y take 8 · TILES tokens.
// With `heads`, the rows of a head are `value` of every `each` rows from `skip` on, and meet a part of x of their own: that is
// how multi-head latent attention's mixes become values.
template <int FORMAT, int TILES>
__device__ __forceinline__ void linear(const Matrix& m, const float* bias, const u16* x, int x_pitch, long long x_low, float* out,
                                       int out_width, u16* planes, int pitch, long long low, int n, int value, int each,
                                       int skip) {
    float* room = (float*)dynamic_memory;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4;
    int row = 16 * blockIdx.x, column = row, rows = m.rows, shift = 0;
    if (value) {
        int tiles = (value + 15) / 16, head = blockIdx.x / tiles, within = 16 * (blockIdx.x % tiles);
        row = head * each + skip + within;
        rows = head * each + skip + value;
        column = head * value + within;
        shift = head * m.columns;
    }
    fetch_rows(m.codes, m.pitch, row, rows);
    after_previous();
    int token = 8 * TILES * blockIdx.y;
    const u16* xs[TILES];
    float sums[TILES][4];
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
        int at = token + 8 * j + g;
        xs[j] = at < n ? x + (long long)at * x_pitch + shift : nullptr;
        sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
    }
    int from, to;
    share<FORMAT>(m.columns, warps, warp, from, to);
    product<FORMAT, TILES>(m, row, from, to, xs, x_low, sums);
    gather<TILES>(sums, room);
    for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
        int within = entry % 128 / 8, at = token + 8 * (entry / 128) + entry % 8;
        if (at >= n || row + within >= rows) continue;
        float sum = gathered<TILES>(room, warps, entry);
        if (FORMAT == INT8) sum *= m.scales[row + within];
        if (bias) sum += bias[row + within];
        if (out) out[(long long)at * out_width + column + within] = sum;
        if (planes) {
            u16* place = planes + (long long)at * pitch + column + within;
            split(sum, place, place + low);
        }
    }
}

#define LINEAR(NAME, FORMAT, TILES)                                                                                     \
    extern "C" __global__ void __launch_bounds__(512) linear_##NAME(                                                    \
        Matrix m, const float* bias, const u16* x, int x_pitch, long long x_low, float* out, int out_width, u16* planes, \
        int pitch, long long low, int n, int value, int each, int skip) {                                               \
        linear<FORMAT, TILES>(m, bias, x, x_pitch, x_low, out, out_width, planes, pitch, low, n, value, each, skip);     \
    }
FOR_EACH_KIND(LINEAR)

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
