// Attention over a paged cache, with scores and weights that never leave the chip (Dao et al. 2022), for one shape of heads.
//
// A block takes 16 · ROWS rows, a row being one head of queries of one token; heads that share keys follow one another.
// ROWS · PARTS warps: those of one row of warps share the keys of a tile when scores are made, and the numbers of a value
// when values are mixed. Blocks along z take parts of the context; the last of them to end joins what they found.
//
// SIZE numbers of a key, VALUE of a value; TILE tokens at a time; SHARED where values are the beginning of the keys (multi-head
// latent attention); PLANES of queries and of the weights of the mix, CACHED of the cache; FRESH
// where every sequence has one new token, whose heads are normalised and turned here. All are given when the kernel is compiled.

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
#define LINES (CACHED * TILE)

// New heads as a product left them: [n, (heads + 2 · kv_heads) · SIZE]; see `turn_grouped`.
struct Fresh {
    const float *qkv, *q_weight, *k_weight;
    const float2* angles;
    const int* slots;
    int width, neighbours;
    float epsilon;
    int unused;
};

struct Attention {
    const u16* queries;   // [n, kv_heads · group, SIZE], the low plane `queries_low` further
    long long queries_low;
    u16* cache;           // [slots, cache_width], a row's low plane `cache_low` further
    const int* sequences; // first token, tokens, context, first place in `blocks`
    const int* blocks;
    const int* tasks;     // sequence and first row; nothing: each sequence has `tiles` in turn
    float* partial;       // of each block [HEADS, VALUE], then the highest score and the sum of weights of each row
    u32* counters;        // [blocks along x and y]
    u16* out;             // [n, kv_heads · group, VALUE], rows `pitch` apart, the low plane `low` further
    long long low;
    int cache_width, cache_low, kv_heads, group, tiles, values, pitch, splits;
    float scale;
    int unused;
    Fresh fresh;
};

// Loads the tokens `first`.. of a sequence, which lie in the blocks `ids`, plane after plane; zeros behind its `end`.
__device__ __forceinline__ void load_tile(const Attention& a, const int* ids, int head, int first, int end, u16* keys, u16* values) {
    const int chunks = SIZE / 8, value_chunks = SHARED ? 0 : VALUE / 8;
#pragma unroll 4
    for (int i = threadIdx.x; i < CACHED * TILE * (chunks + value_chunks); i += THREADS) {
        int line_number = i / (chunks + value_chunks), chunk = i % (chunks + value_chunks);
        int plane = CACHED > 1 ? line_number / TILE : 0, token = line_number - plane * TILE;
        bool there = first + token < end;
        long long slot = there ? (long long)ids[token / BLOCK] * BLOCK + token % BLOCK : 0;
        const u16* line = a.cache + slot * a.cache_width + plane * a.cache_low;
        if (chunk < chunks) {
            copy16(keys + line_number * KEY_LINE + 8 * chunk, line + head * SIZE + 8 * chunk, there ? 16 : 0);
        } else {
            chunk -= chunks;
            copy16(values + line_number * VALUE_LINE + 8 * chunk, line + a.values + head * VALUE + 8 * chunk, there ? 16 : 0);
        }
    }
    copies_end();
}

// Finds the blocks of a tile; tiles begin where blocks do.
__device__ __forceinline__ void find_blocks(const int* blocks, int first, int end, int* ids) {
    int at = first + BLOCK * (int)threadIdx.x;
    if (threadIdx.x < TILE / BLOCK && at < end) ids[threadIdx.x] = blocks[at / BLOCK];
}

// A head's numbers that a lane turns: pairs `lane`, `lane + 32`, …
#define PAIRS ((SIZE / 2 + 31) / 32)
struct Head {
    float a[PAIRS], b[PAIRS];
};

__device__ __forceinline__ void read_head(const float* x, int neighbours, Head& head) {
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
        int pair = threadIdx.x % 32 + 32 * i, a, b;
        pair_of(pair, SIZE / 2, neighbours, a, b);
        bool there = pair < SIZE / 2;
        head.a[i] = there ? x[a] : 0.0f;
        head.b[i] = there ? x[b] : 0.0f;
    }
}

// The weights of a head's norm and the turns of its pairs, for the pairs of a lane.
struct Turn {
    float a[PAIRS], b[PAIRS];
    float2 turns[PAIRS];
};

__device__ __forceinline__ void read_turn(const float* weight, const Fresh& fresh, int token, Turn& turn) {
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
        int pair = min((int)threadIdx.x % 32 + 32 * i, SIZE / 2 - 1), a, b;
        pair_of(pair, SIZE / 2, fresh.neighbours, a, b);
        turn.a[i] = weight[a];
        turn.b[i] = weight[b];
        turn.turns[i] = fresh.angles[(long long)token * (SIZE / 2) + pair];
    }
}

// Normalises and turns a head; the results go to both planes, or to `high` alone where there is no `low`.
__device__ __forceinline__ void turn_head(const Head& head, const Turn& turn, const Fresh& fresh, u16* high, u16* low) {
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) squares += head.a[i] * head.a[i] + head.b[i] * head.b[i];
    float factor = rsqrtf(warp_sum(squares) / (float)SIZE + fresh.epsilon);
#pragma unroll
    for (int i = 0; i < PAIRS; ++i) {
        int pair = threadIdx.x % 32 + 32 * i, a, b;
        if (pair >= SIZE / 2) break;
        pair_of(pair, SIZE / 2, fresh.neighbours, a, b);
        float u = head.a[i] * factor * turn.a[i], v = head.b[i] * factor * turn.b[i];
        float first = u * turn.turns[i].x - v * turn.turns[i].y, second = v * turn.turns[i].x + u * turn.turns[i].y;
        if (low) {
            split(first, high + a, low + a);
            split(second, high + b, low + b);
        } else {
            high[a] = bf16_bits(first);
            high[b] = bf16_bits(second);
        }
    }
}

// The new token's queries to `held`, a warp for four rows; its key and value to the cache and to `key` and `value` where this
// block has the end of the context (`last`).
__device__ __forceinline__ void take_fresh(const Attention& a, int token, int kv_head, int first_row, int rows, bool last, u16* held,
                                           u16* held_low, u16* key, u16* value) {
    const Fresh& f = a.fresh;
    const int warps = THREADS / 32, each = HEADS / warps;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, heads = a.kv_heads * a.group;
    const float* x = f.qkv + (long long)token * f.width;
    const float *of_key = x + (heads + kv_head) * SIZE, *of_value = x + (heads + a.kv_heads + kv_head) * SIZE;
    // Everything is asked for at once.
    Head mine[each], fresh_key;
    Turn turn, key_turn;
    read_turn(f.q_weight, f, token, turn);
#pragma unroll
    for (int i = 0; i < each; ++i)
        if (warp + warps * i < rows) read_head(x + (kv_head * a.group + first_row + warp + warps * i) * SIZE, f.neighbours, mine[i]);
    if (last && warp == warps - 1) {
        read_head(of_key, f.neighbours, fresh_key);
        read_turn(f.k_weight, f, token, key_turn);
    }
#pragma unroll
    for (int i = 0; i < each; ++i) {
        int row = warp + warps * i;
        u16* line = held + row * (KEY + 8);
        for (int place = lane + (row < rows ? SIZE : 0); place < KEY; place += 32) line[place] = held_low[row * (KEY + 8) + place] = 0;
        if (row < rows) turn_head(mine[i], turn, f, line, held_low + row * (KEY + 8));
    }
    if (!last) return;
    // Of several blocks of rows the first writes to the cache.
    int slot = first_row == 0 ? f.slots[token] : -1;
    u16* line = a.cache + (long long)slot * a.cache_width;
    if (warp == warps - 1) {
        turn_head(fresh_key, key_turn, f, key, CACHED > 1 ? key + SIZE : nullptr);
        __syncwarp();
        for (int i = lane; i < CACHED * SIZE && slot >= 0; i += 32) line[i / SIZE * a.cache_low + kv_head * SIZE + i % SIZE] = key[i];
    } else if (warp == 0) {
        for (int i = lane; i < VALUE; i += 32) {
            float v = of_value[i];
            value[i] = bf16_bits(v);
            if (CACHED > 1) value[VALUE + i] = bf16_bits(v - bf16_value(value[i]));
        }
        __syncwarp();
        for (int i = lane; i < CACHED * VALUE && slot >= 0; i += 32)
            line[i / VALUE * a.cache_low + a.values + kv_head * VALUE + i % VALUE] = value[i];
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, ROWS == 8 && SIZE <= 128 ? 2 : 1) attend(const __grid_constant__ Attention a) {
    // With FRESH the cache is older than the kernel before this one, and is asked for while that one ends.
    if (!FRESH) after_previous();
    u16* held = (u16*)dynamic_memory;                                    // queries [PLANES, HEADS, KEY + 8]
    u16* keys = held + PLANES * HEADS * (KEY + 8);               // [2, CACHED, TILE, KEY_LINE]
    u16* values = SHARED ? keys : keys + 2 * LINES * KEY_LINE;   // [2, CACHED, TILE, VALUE_LINE]
    u16* weights = values + 2 * LINES * VALUE_LINE;              // [PLANES, HEADS, WEIGHTS_LINE], where warps share a row
    float* stats = (float*)(weights + (PARTS > 1 ? PLANES * HEADS * WEIGHTS_LINE : 0)); // [2, PARTS, HEADS]
    __shared__ u16 fresh_key[CACHED * SIZE], fresh_value[CACHED * VALUE];

    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int band = warp / PARTS, part = warp % PARTS, kv_head = blockIdx.y, split_number = blockIdx.z;
    int number = a.tasks ? a.tasks[2 * blockIdx.x] : blockIdx.x / a.tiles;
    int first_row = a.tasks ? a.tasks[2 * blockIdx.x + 1] : blockIdx.x % a.tiles * HEADS;
    int first_token = a.sequences[4 * number], tokens = a.sequences[4 * number + 1], context = a.sequences[4 * number + 2];
    const int* blocks = a.blocks + a.sequences[4 * number + 3];
    int rows = min(HEADS, tokens * a.group - first_row), start = context - tokens;
    // The last row sees furthest.
    int end = start + (first_row + rows - 1) / a.group + 1;
    // A part of the context is whole tiles; short contexts are cut into fewer parts.
    int all_tiles = (end + TILE - 1) / TILE, each = (all_tiles + a.splits - 1) / a.splits;
    int used = context ? (all_tiles + each - 1) / each : 0;
    if (split_number >= used) {
        if (FRESH) after_previous();
        return;
    }
    int from = split_number * each * TILE, to = min(end, from + each * TILE);
    // What lies in the cache already: without the new token.
    int cached = FRESH ? min(to, end - 1) : to;

    // What is never loaded must be zero: the ends of keys. Those of values come to numbers that nobody reads.
    const int ends = KEY > SIZE ? KEY - SIZE : 1;
    for (int i = threadIdx.x; KEY > SIZE && i < 2 * LINES * ends; i += THREADS) keys[i / ends * KEY_LINE + SIZE + i % ends] = 0;
    // Where tiles lie is asked one tile ahead of them.
    __shared__ int ids[2][TILE / BLOCK];
    find_blocks(blocks, from, to, ids[0]);
    find_blocks(blocks, from + TILE, to, ids[1]);
    __syncthreads();
    load_tile(a, ids[0], kv_head, from, cached, keys, values);
    if (FRESH) {
        after_previous();
        take_fresh(a, first_token, kv_head, first_row, rows, to == end, held, held + HEADS * (KEY + 8), fresh_key, fresh_value);
    } else {
#pragma unroll 4
        for (int i = threadIdx.x; i < PLANES * HEADS * (KEY / 8); i += THREADS) {
            int plane = i / (HEADS * (KEY / 8)), row = i / (KEY / 8) % HEADS, place = i % (KEY / 8) * 8, at = first_row + row;
            uint4 v = make_uint4(0, 0, 0, 0);
            if (row < rows && place < SIZE)
                v = *(const uint4*)(a.queries + plane * a.queries_low + place +
                                    (((long long)first_token + at / a.group) * a.kv_heads * a.group + kv_head * a.group + at % a.group) * SIZE);
            *(uint4*)(held + (plane * HEADS + row) * (KEY + 8) + place) = v;
        }
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
            load_tile(a, ids[buffer ^ 1], kv_head, first + TILE, cached, keys + (buffer ^ 1) * LINES * KEY_LINE, values + (buffer ^ 1) * LINES * VALUE_LINE);
        find_blocks(blocks, first + 2 * TILE, to, ids[buffer]);
        if (FRESH && to == end && first + TILE >= end) {
            int line = buffer * LINES + end - 1 - first;
            for (int i = threadIdx.x; i < CACHED * SIZE; i += THREADS) keys[(line + i / SIZE * TILE) * KEY_LINE + i % SIZE] = fresh_key[i];
            for (int i = threadIdx.x; i < CACHED * VALUE; i += THREADS)
                values[(line + i / VALUE * TILE) * VALUE_LINE + i % VALUE] = fresh_value[i];
            __syncthreads();
        }
        const u16* tile = keys + buffer * LINES * KEY_LINE;
        float scores[MINE / 8][4];
#pragma unroll
        for (int i = 0; i < MINE / 8; ++i) scores[i][0] = scores[i][1] = scores[i][2] = scores[i][3] = 0.0f;
#pragma unroll 4
        for (int k = 0; k < KEY; k += 16) {
            u32 q[PLANES][4];
#pragma unroll
            for (int p = 0; p < PLANES; ++p)
                tiles4(q[p], held + (p * HEADS + 16 * band + lane % 16) * (KEY + 8) + k + lane / 16 * 8);
#pragma unroll
            for (int i = 0; i < CACHED * (MINE / 16); ++i) {
                int plane = i / (MINE / 16), at = i % (MINE / 16);
                u32 b[4];
                tiles4(b, tile + (plane * TILE + part * MINE + 16 * at + lane % 8 + lane / 16 * 8) * KEY_LINE + k + lane / 8 % 2 * 8);
                // What both low planes say together is beyond what is kept.
#pragma unroll
                for (int p = 0; p < (plane ? 1 : PLANES); ++p) {
                    mma(scores[2 * at], q[p][0], q[p][1], q[p][2], q[p][3], b[0], b[1]);
                    mma(scores[2 * at + 1], q[p][0], q[p][1], q[p][2], q[p][3], b[2], b[3]);
                }
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
        u32 packed[PLANES][MINE / 8][2];
#pragma unroll
        for (int i = 0; i < MINE / 8; ++i) {
            float w[4];
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                w[c] = power_of_two(scores[i][c] * scale - base[c / 2]);
                total[c / 2] += w[c];
            }
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                u32 high = packed[0][i][r] = bf16_pair(w[2 * r], w[2 * r + 1]);
                if (PLANES > 1) packed[PLANES - 1][i][r] = bf16_pair(w[2 * r] - bf16_low(high), w[2 * r + 1] - bf16_high(high));
            }
        }
        if (PARTS > 1) {
#pragma unroll
            for (int p = 0; p < PLANES; ++p) {
#pragma unroll
                for (int i = 0; i < MINE / 8; ++i) {
                    *(u32*)(weights + (p * HEADS + upper) * WEIGHTS_LINE + part * MINE + 8 * i + 2 * t) = packed[p][i][0];
                    *(u32*)(weights + (p * HEADS + lower) * WEIGHTS_LINE + part * MINE + 8 * i + 2 * t) = packed[p][i][1];
                }
            }
            __syncthreads();
        }
        const u16* mix = values + buffer * LINES * VALUE_LINE + part * SPAN;
#pragma unroll
        for (int k = 0; k < TILE; k += 16) {
            u32 w[PLANES][4];
#pragma unroll
            for (int p = 0; p < PLANES; ++p) {
                if (PARTS > 1) {
                    tiles4(w[p], weights + (p * HEADS + 16 * band + lane % 16) * WEIGHTS_LINE + k + lane / 16 * 8);
                } else {
                    w[p][0] = packed[p][(k / 8) % (MINE / 8)][0], w[p][1] = packed[p][(k / 8) % (MINE / 8)][1];
                    w[p][2] = packed[p][(k / 8 + 1) % (MINE / 8)][0], w[p][3] = packed[p][(k / 8 + 1) % (MINE / 8)][1];
                }
            }
#pragma unroll
            for (int i = 0; i < CACHED * (SPAN / 16); ++i) {
                int plane = i / (SPAN / 16), at = i % (SPAN / 16);
                u32 b[4];
                tiles4_turned(b, mix + (plane * TILE + k + lane % 16) * VALUE_LINE + 16 * at + lane / 16 * 8);
#pragma unroll
                for (int p = 0; p < (plane ? 1 : PLANES); ++p) {
                    mma(mixed[2 * at], w[p][0], w[p][1], w[p][2], w[p][3], b[0], b[1]);
                    mma(mixed[2 * at + 1], w[p][0], w[p][1], w[p][2], w[p][3], b[2], b[3]);
                }
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
    const int size = HEADS * (VALUE + 2);
    float* found = a.partial + (task * a.splits + split_number) * size;
#pragma unroll
    for (int i = 0; i < SPAN / 8; ++i) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            int row = r ? lower : upper, place = part * SPAN + 8 * i + 2 * t, at = first_row + row;
            if (row >= rows || place >= VALUE) continue;
            float first = mixed[i][2 * r], second = mixed[i][2 * r + 1];
            if (used == 1) {
                u16* to = a.out + ((long long)first_token + at / a.group) * a.pitch + (kv_head * a.group + at % a.group) * VALUE + place;
                split(first / total[r], to, to + a.low);
                split(second / total[r], to + 1, to + a.low + 1);
            } else {
                *(float2*)(found + row * VALUE + place) = make_float2(first, second);
            }
        }
    }
    if (used == 1) return;
    if (part == 0 && t == 0) {
        *(float2*)(found + HEADS * VALUE + 2 * upper) = make_float2(highest[0], total[0]);
        *(float2*)(found + HEADS * VALUE + 2 * lower) = make_float2(highest[1], total[1]);
    }
    if (!last_block(a.counters + task, used)) return;
    const float* all = a.partial + task * a.splits * size;
    // Each part's share of each row, a warp for a row; the tiles are of no more use.
    float* shares = (float*)keys;
    for (int row = warp; row < rows; row += THREADS / 32) {
        float best = -INFINITE, weight = 0.0f;
        // There are at most 64 parts.
        float2 line[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int s = lane + 32 * i;
            line[i] = s < used ? __ldcg((const float2*)(all + s * size + HEADS * VALUE + 2 * row)) : make_float2(-INFINITE, 0.0f);
            best = fmaxf(best, line[i].x);
        }
        best = warp_highest(best);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            line[i].x = power_of_two((line[i].x - best) * scale);
            weight += line[i].x * line[i].y;
        }
        weight = warp_sum(weight);
#pragma unroll
        for (int i = 0; i < 2; ++i)
            if (lane + 32 * i < used) shares[row * used + lane + 32 * i] = line[i].x / weight;
    }
    __syncthreads();
    // Four numbers of two places at a time, eight parts each, so that many are on their way.
    const int quads = VALUE / 4;
    for (int first = threadIdx.x; first < rows * quads; first += 2 * THREADS) {
        float4 sums[2] = {};
        int second = first + THREADS < rows * quads ? first + THREADS : first, quad[2] = {first, second};
#pragma unroll 8
        for (int s = 0; s < used; ++s) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float4 v = __ldcg((const float4*)(all + s * size) + quad[i]);
                float share = shares[quad[i] / quads * used + s];
                sums[i].x += share * v.x;
                sums[i].y += share * v.y;
                sums[i].z += share * v.z;
                sums[i].w += share * v.w;
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int row = quad[i] / quads, at = first_row + row;
            u16* to = a.out + ((long long)first_token + at / a.group) * a.pitch + (kv_head * a.group + at % a.group) * VALUE + quad[i] % quads * 4;
            float four[4] = {sums[i].x, sums[i].y, sums[i].z, sums[i].w};
#pragma unroll
            for (int c = 0; c < 4; ++c) split(four[c], to + c, to + a.low + c);
        }
    }
}
