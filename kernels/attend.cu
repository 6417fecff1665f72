// Attention over a paged cache, with scores and weights that never leave the chip (Dao et al. 2022), for one shape of heads.
//
// A block takes 16 · ROWS rows, a row being one head of queries of one token; heads that share keys follow one another.
// ROWS · PARTS warps: those of one row of warps share the keys of a tile when scores are made, and the numbers of a value
// when values are mixed. Blocks along z take parts of the context; the last of them to end joins what they found.
//
// SIZE numbers of a key, VALUE of a value; TILE tokens at a time; SHARED where values are the beginning of the keys (multi-head
// latent attention). All are given when the kernel is compiled.

#define BLOCK 16
#define KEY (((SIZE) + 15) / 16 * 16)
#define WIDE (((VALUE) + 16 * PARTS - 1) / (16 * PARTS) * (16 * PARTS))
#define MOST (KEY > WIDE ? KEY : WIDE)
#define KEY_LINE ((SHARED ? MOST : KEY) + 8)
#define VALUE_LINE (SHARED ? KEY_LINE : WIDE + 8)
#define THREADS (32 * ROWS * PARTS)
#define HEADS (16 * ROWS)
#define MINE (TILE / PARTS)  // tokens of a tile whose scores a warp makes
#define SPAN (WIDE / PARTS)  // numbers of a value that a warp mixes
#define WEIGHTS_LINE (TILE + 8)

struct Attention {
    const u16* queries;   // [n, kv_heads · group, SIZE]
    const u16* cache;     // [slots, cache_width]
    const int* sequences; // first token, tokens, context, first place in `blocks`
    const int* blocks;
    const int* tasks;     // sequence and first row; nothing: each sequence has `tiles` in turn
    float* partial;       // [blocks, HEADS, VALUE + 2]
    u32* counters;        // [blocks along x and y]
    u16* out;             // [n, kv_heads · group, VALUE], rows `pitch` apart, the low plane `low` further
    long long low;
    int cache_width, kv_heads, group, tiles, values, pitch, splits;
    float scale;
};

// Loads the tokens `first`.. of a sequence, which lie in the blocks `ids`; zeros behind its `end`.
__device__ __forceinline__ void load_tile(const Attention& a, const int* ids, int head, int first, int end, u16* keys, u16* values) {
    const int chunks = SIZE / 8, value_chunks = SHARED ? 0 : VALUE / 8;
#pragma unroll 4
    for (int i = threadIdx.x; i < TILE * (chunks + value_chunks); i += THREADS) {
        int token = i / (chunks + value_chunks), chunk = i % (chunks + value_chunks);
        bool there = first + token < end;
        long long slot = there ? (long long)ids[token / BLOCK] * BLOCK + token % BLOCK : 0;
        const u16* line = a.cache + slot * a.cache_width;
        if (chunk < chunks) {
            copy16(keys + token * KEY_LINE + 8 * chunk, line + head * SIZE + 8 * chunk, there ? 16 : 0);
        } else {
            chunk -= chunks;
            copy16(values + token * VALUE_LINE + 8 * chunk, line + a.values + head * VALUE + 8 * chunk, there ? 16 : 0);
        }
    }
    copies_end();
}

// Finds the blocks of a tile; tiles begin where blocks do.
__device__ __forceinline__ void find_blocks(const int* blocks, int first, int end, int* ids) {
    int at = first + BLOCK * (int)threadIdx.x;
    if (threadIdx.x < TILE / BLOCK && at < end) ids[threadIdx.x] = blocks[at / BLOCK];
}

extern "C" __global__ void __launch_bounds__(THREADS, ROWS == 8 && SIZE <= 128 ? 2 : 1) attend(const __grid_constant__ Attention a) {
    after_previous();
    u16* held = (u16*)dynamic_memory;                                    // queries [HEADS, KEY + 8]
    u16* keys = held + HEADS * (KEY + 8);                        // [2, TILE, KEY_LINE]
    u16* values = SHARED ? keys : keys + 2 * TILE * KEY_LINE;    // [2, TILE, VALUE_LINE]
    u16* weights = values + 2 * TILE * VALUE_LINE;               // [HEADS, WEIGHTS_LINE], where warps share a row
    float* stats = (float*)(weights + (PARTS > 1 ? HEADS * WEIGHTS_LINE : 0)); // [2, PARTS, HEADS]

    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int band = warp / PARTS, part = warp % PARTS, kv_head = blockIdx.y, split_number = blockIdx.z;
    int number = a.tasks ? a.tasks[2 * blockIdx.x] : blockIdx.x / a.tiles;
    int first_row = a.tasks ? a.tasks[2 * blockIdx.x + 1] : blockIdx.x % a.tiles * HEADS;
    int first_token = a.sequences[4 * number], tokens = a.sequences[4 * number + 1], context = a.sequences[4 * number + 2];
    const int* blocks = a.blocks + a.sequences[4 * number + 3];
    if (context == 0) return;
    int rows = min(HEADS, tokens * a.group - first_row), start = context - tokens;
    // The last row sees furthest.
    int end = start + (first_row + rows - 1) / a.group + 1;
    // A part of the context is whole tiles; short contexts are cut into fewer parts.
    int all_tiles = (end + TILE - 1) / TILE, each = (all_tiles + a.splits - 1) / a.splits;
    int used = (all_tiles + each - 1) / each;
    if (split_number >= used) return;
    int from = split_number * each * TILE, to = min(end, from + each * TILE);

    // What is never loaded must be zero: the ends of keys. Those of values come to numbers that nobody reads.
    const int ends = KEY > SIZE ? KEY - SIZE : 1;
    for (int i = threadIdx.x; KEY > SIZE && i < 2 * TILE * ends; i += THREADS) keys[i / ends * KEY_LINE + SIZE + i % ends] = 0;
    // Where tiles lie is asked one tile ahead of them.
    __shared__ int ids[2][TILE / BLOCK];
    find_blocks(blocks, from, to, ids[0]);
    find_blocks(blocks, from + TILE, to, ids[1]);
    __syncthreads();
    load_tile(a, ids[0], kv_head, from, to, keys, values);
#pragma unroll 4
    for (int i = threadIdx.x; i < HEADS * (KEY / 8); i += THREADS) {
        int row = i / (KEY / 8), place = i % (KEY / 8) * 8, at = first_row + row;
        uint4 v = make_uint4(0, 0, 0, 0);
        if (row < rows && place < SIZE)
            v = *(const uint4*)(a.queries + (((long long)first_token + at / a.group) * a.kv_heads * a.group + kv_head * a.group + at % a.group) * SIZE + place);
        *(uint4*)(held + row * (KEY + 8) + place) = v;
    }

    // The positions that this lane's two rows see.
    int upper = 16 * band + g, lower = upper + 8;
    int sees[2] = {start + (first_row + upper) / a.group, start + (first_row + lower) / a.group};
    float highest[2] = {-INFINITE, -INFINITE}, total[2] = {0.0f, 0.0f};
    float mixed[SPAN / 8][4];
#pragma unroll
    for (int i = 0; i < SPAN / 8; ++i) mixed[i][0] = mixed[i][1] = mixed[i][2] = mixed[i][3] = 0.0f;

    // Weights are powers of two: exp(x) = 2^(x · log2 e).
    const float scale = a.scale * 1.44269504f;
    int buffer = 0;
    for (int first = from; first < to; first += TILE, buffer ^= 1) {
        copies_wait<0>();
        __syncthreads();
        if (first + TILE < to)
            load_tile(a, ids[buffer ^ 1], kv_head, first + TILE, to, keys + (buffer ^ 1) * TILE * KEY_LINE, values + (buffer ^ 1) * TILE * VALUE_LINE);
        find_blocks(blocks, first + 2 * TILE, to, ids[buffer]);
        const u16* tile = keys + buffer * TILE * KEY_LINE;
        float scores[MINE / 8][4];
#pragma unroll
        for (int i = 0; i < MINE / 8; ++i) scores[i][0] = scores[i][1] = scores[i][2] = scores[i][3] = 0.0f;
#pragma unroll 4
        for (int k = 0; k < KEY; k += 16) {
            u32 q[4];
            tiles4(q, held + (16 * band + lane % 16) * (KEY + 8) + k + lane / 16 * 8);
#pragma unroll
            for (int i = 0; i < MINE / 16; ++i) {
                u32 b[4];
                tiles4(b, tile + (part * MINE + 16 * i + lane % 8 + lane / 16 * 8) * KEY_LINE + k + lane / 8 % 2 * 8);
                mma(scores[2 * i], q[0], q[1], q[2], q[3], b[0], b[1]);
                mma(scores[2 * i + 1], q[0], q[1], q[2], q[3], b[2], b[3]);
            }
        }
        float best[2] = {-INFINITE, -INFINITE};
        // Most tiles are seen whole by all rows.
        if (first + TILE - 1 > min(sees[0], sees[1]) || first + TILE > to) {
#pragma unroll
            for (int i = 0; i < MINE / 8; ++i) {
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    int at = first + part * MINE + 8 * i + 2 * t + c % 2;
                    if (at > sees[c / 2] || at >= to) scores[i][c] = -INFINITE;
                }
            }
        }
#pragma unroll
        for (int i = 0; i < MINE / 8; ++i)
#pragma unroll
            for (int c = 0; c < 4; ++c) best[c / 2] = fmaxf(best[c / 2], scores[i][c]);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
            best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
        }
        if (PARTS > 1) {
            if (t == 0) stats[part * HEADS + upper] = best[0], stats[part * HEADS + lower] = best[1];
            __syncthreads();
            for (int p = 0; p < PARTS; ++p) {
                best[0] = fmaxf(best[0], stats[p * HEADS + upper]);
                best[1] = fmaxf(best[1], stats[p * HEADS + lower]);
            }
        }
        float shrink[2], base[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            best[r] = fmaxf(best[r], highest[r]);
            // A row that sees nothing here yet keeps its zeros.
            base[r] = best[r] == -INFINITE ? 0.0f : best[r] * scale;
            shrink[r] = power_of_two(highest[r] * scale - base[r]);
            highest[r] = best[r];
            total[r] *= shrink[r];
        }
#pragma unroll
        for (int i = 0; i < SPAN / 8; ++i)
            for (int c = 0; c < 4; ++c) mixed[i][c] *= shrink[c / 2];
        u32 packed[MINE / 8][2];
#pragma unroll
        for (int i = 0; i < MINE / 8; ++i) {
            float w[4];
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                w[c] = power_of_two(scores[i][c] * scale - base[c / 2]);
                total[c / 2] += w[c];
            }
            packed[i][0] = bf16_pair(w[0], w[1]);
            packed[i][1] = bf16_pair(w[2], w[3]);
        }
        if (PARTS > 1) {
#pragma unroll
            for (int i = 0; i < MINE / 8; ++i) {
                *(u32*)(weights + upper * WEIGHTS_LINE + part * MINE + 8 * i + 2 * t) = packed[i][0];
                *(u32*)(weights + lower * WEIGHTS_LINE + part * MINE + 8 * i + 2 * t) = packed[i][1];
            }
            __syncthreads();
        }
        const u16* mix = values + buffer * TILE * VALUE_LINE + part * SPAN;
#pragma unroll
        for (int k = 0; k < TILE; k += 16) {
            u32 w[4];
            if (PARTS > 1) {
                tiles4(w, weights + (16 * band + lane % 16) * WEIGHTS_LINE + k + lane / 16 * 8);
            } else {
                w[0] = packed[(k / 8) % (MINE / 8)][0], w[1] = packed[(k / 8) % (MINE / 8)][1];
                w[2] = packed[(k / 8 + 1) % (MINE / 8)][0], w[3] = packed[(k / 8 + 1) % (MINE / 8)][1];
            }
#pragma unroll
            for (int i = 0; i < SPAN / 16; ++i) {
                u32 b[4];
                tiles4_turned(b, mix + (k + lane % 16) * VALUE_LINE + 16 * i + lane / 16 * 8);
                mma(mixed[2 * i], w[0], w[1], w[2], w[3], b[0], b[1]);
                mma(mixed[2 * i + 1], w[0], w[1], w[2], w[3], b[2], b[3]);
            }
        }
    }

    // Each warp knows the sum of its own weights.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        total[r] += __shfl_xor_sync(0xffffffffu, total[r], 1);
        total[r] += __shfl_xor_sync(0xffffffffu, total[r], 2);
    }
    if (PARTS > 1) {
        __syncthreads();
        if (t == 0) stats[part * HEADS + upper] = total[0], stats[part * HEADS + lower] = total[1];
        __syncthreads();
        total[0] = total[1] = 0.0f;
        for (int p = 0; p < PARTS; ++p) total[0] += stats[p * HEADS + upper], total[1] += stats[p * HEADS + lower];
    }
    long long task = (long long)blockIdx.x * gridDim.y + blockIdx.y;
    float* found = a.partial + (task * a.splits + split_number) * HEADS * (VALUE + 2);
#pragma unroll
    for (int i = 0; i < SPAN / 8; ++i) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            int row = c / 2 ? lower : upper, place = part * SPAN + 8 * i + 2 * t + c % 2;
            if (row >= rows || place >= VALUE) continue;
            if (used == 1) {
                int at = first_row + row;
                u16* to = a.out + ((long long)first_token + at / a.group) * a.pitch + (kv_head * a.group + at % a.group) * VALUE + place;
                split(mixed[i][c] / total[c / 2], to, to + a.low);
            } else {
                found[row * (VALUE + 2) + place] = mixed[i][c];
            }
        }
    }
    if (used == 1) return;
    if (part == 0 && t == 0) {
        found[upper * (VALUE + 2) + VALUE] = highest[0], found[upper * (VALUE + 2) + VALUE + 1] = total[0];
        found[lower * (VALUE + 2) + VALUE] = highest[1], found[lower * (VALUE + 2) + VALUE + 1] = total[1];
    }
    if (!last_block(a.counters + task, used)) return;
    const float* all = a.partial + task * a.splits * HEADS * (VALUE + 2);
    // Each part's share of each row, a warp for a row; the tiles are of no more use.
    float* shares = (float*)keys;
    for (int row = warp; row < rows; row += THREADS / 32) {
        float best = -INFINITE, weight = 0.0f;
        for (int s = lane; s < used; s += 32) best = fmaxf(best, __ldcg(all + (s * HEADS + row) * (VALUE + 2) + VALUE));
        best = warp_highest(best);
        for (int s = lane; s < used; s += 32) {
            const float* line = all + (s * HEADS + row) * (VALUE + 2) + VALUE;
            float share = power_of_two((__ldcg(line) - best) * scale);
            weight += share * __ldcg(line + 1);
            shares[row * used + s] = share;
        }
        weight = warp_sum(weight);
        for (int s = lane; s < used; s += 32) shares[row * used + s] /= weight;
    }
    __syncthreads();
    // Pairs of numbers, several at a time so that many are on their way.
    const int pairs = HEADS * VALUE / 2, most = (pairs + THREADS - 1) / THREADS, group = most < 8 ? most : 8;
    for (int base = 0; base < most; base += group) {
        float2 sums[group];
#pragma unroll
        for (int i = 0; i < group; ++i) sums[i] = make_float2(0.0f, 0.0f);
#pragma unroll 4
        for (int s = 0; s < used; ++s) {
#pragma unroll
            for (int i = 0; i < group; ++i) {
                int pair = threadIdx.x + (base + i) * THREADS, row = pair / (VALUE / 2);
                if (row >= rows) continue;
                float2 v = __ldcg((const float2*)(all + (s * HEADS + row) * (VALUE + 2)) + pair % (VALUE / 2));
                float share = shares[row * used + s];
                sums[i].x += share * v.x;
                sums[i].y += share * v.y;
            }
        }
#pragma unroll
        for (int i = 0; i < group; ++i) {
            int pair = threadIdx.x + (base + i) * THREADS, row = pair / (VALUE / 2), at = first_row + row;
            if (row >= rows) continue;
            u16* to = a.out + ((long long)first_token + at / a.group) * a.pitch + (kv_head * a.group + at % a.group) * VALUE + pair % (VALUE / 2) * 2;
            split(sums[i].x, to, to + a.low);
            split(sums[i].y, to + 1, to + a.low + 1);
        }
    }
}
