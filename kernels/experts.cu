// Gated feed-forward blocks `down · (silu(gate · x) ∘ up · x)`: those of chosen experts and the shared one.
//
// For few tokens a block takes 16 rows of one expert for all of its tokens, so that every weight is read once; for many, tiles
// of 128 tokens by 128 rows. What an expert says of a token is kept apart (`parts`), and added in the order of experts by
// whoever reads it: the sum is the same whatever else is in the batch.

// The expert that this block's place among the active ones means; the last place is the shared block's.
__device__ __forceinline__ int expert_at(const Pairs& p, int place) {
    if (p.shared && place == (int)gridDim.y - 1) return p.number;
    // Both are asked for at once.
    int count = p.counts[0], expert = p.active[place];
    return place < count ? expert : -1;
}

// Rows `row`..`row + 15` of an expert's first maps for its pairs from `first` on.
template <int FORMAT, int TILES, class Source>
__device__ __forceinline__ void experts_up_tile(const Pairs& p, const Input& input, const Matrix (&sides)[2], int row, int first, int end,
                                                float* room, u16* inner, int pitch, long long low) {
    int rows = sides[0].rows, columns = sides[0].columns;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, from, to;
    float *other = room + warps * TILES * 128, *squares = other + warps * TILES * 128;
    share<FORMAT>(columns, warps, warp, from, to);
    Source x;
    float sums[2][TILES][4] = {};
    int tokens[TILES];
    auto find_tokens = [&]() {
#pragma unroll
        for (int j = 0; j < TILES; ++j) tokens[j] = token_of(p, p.order[min(first + 8 * j + g, end - 1)]);
        find(input, columns, tokens, x);
    };
    if constexpr (Source::NORMED) {
        Streamed<FORMAT, 2> weights;
        weights.begin(sides, row, from, to, squares + 8 * warps);
        find_tokens();
        weights.end(x, sums);
    } else {
        find_tokens();
#pragma unroll
        for (int side = 0; side < 2; ++side) {
            const Matrix one[1] = {sides[side]};
            float found[1][TILES][4] = {};
            product<FORMAT, TILES, 1>(one, row, from, to, x, found);
#pragma unroll
            for (int j = 0; j < TILES; ++j)
                for (int e = 0; e < 4; ++e) sums[side][j][e] = found[0][j][e];
        }
    }
    gather<TILES>(sums[0], room, x, squares);
    gather<TILES>(sums[1], other, x, squares);
    for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
        int within = entry % 128 / 8, at = first + 8 * (entry / 128) + entry % 8;
        if (at >= end || row + within >= rows) continue;
        float u = gathered<TILES>(room, warps, entry), v = gathered<TILES>(other, warps, entry);
        if (Source::NORMED) {
            float factor = factor_of(squares, warps, entry % 8, columns, input.epsilon);
            u *= factor, v *= factor;
        }
        if (FORMAT == INT8) u *= sides[0].scales[row + within], v *= sides[1].scales[row + within];
        u16* to = inner + (long long)p.order[at] * pitch + row + within;
        split(silu(u) * v, to, to + low);
    }
}

template <int FORMAT, bool FEW>
__device__ __forceinline__ void experts_up(const Pairs& p, const Input& input, u16* inner, int pitch, long long low) {
    after_previous();
    float* room = (float*)dynamic_memory;
    int expert = expert_at(p, blockIdx.y), row = 16 * blockIdx.x;
    if (expert < 0) return;
    const Expert& block = p.experts[expert];
    const Matrix sides[2] = {block.gate, block.up};
    if (row >= sides[0].rows) return;
    int begin = p.starts[expert], end = p.starts[expert + 1];
    if constexpr (FEW) {
        if (begin < end) experts_up_tile<FORMAT, 1, Normed>(p, input, sides, row, begin, end, room, inner, pitch, low);
    } else {
        int first = begin;
        for (; end - first > 8; first += 16) experts_up_tile<FORMAT, 2, Planes<2>>(p, input, sides, row, first, end, room, inner, pitch, low);
        if (first < end) experts_up_tile<FORMAT, 1, Planes<1>>(p, input, sides, row, first, end, room, inner, pitch, low);
    }
}

// Rows `row`..`row + 15` of an expert's second map for its pairs from `first` on.
template <int FORMAT, int TILES>
__device__ __forceinline__ void experts_down_tile(const Pairs& p, const Input& input, const Matrix (&down)[1], int row, int first, int end,
                                                  float* room, float* parts, int width) {
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, from, to, routed = p.n * p.chosen;
    share<FORMAT>(down[0].columns, warps, warp, from, to);
    int pairs[TILES];
#pragma unroll
    for (int j = 0; j < TILES; ++j) pairs[j] = p.order[min(first + 8 * j + g, end - 1)];
    Planes<TILES> x;
    find(input, 0, pairs, x);
    float sums[1][TILES][4] = {};
    product<FORMAT, TILES, 1>(down, row, from, to, x, sums);
    gather<TILES>(sums[0], room, x, nullptr);
    for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
        int within = entry % 128 / 8, at = first + 8 * (entry / 128) + entry % 8;
        if (at >= end || row + within >= down[0].rows) continue;
        float sum = gathered<TILES>(room, warps, entry);
        if (FORMAT == INT8) sum *= down[0].scales[row + within];
        int pair = p.order[at], token = token_of(p, pair), part = pair < routed ? pair % p.chosen : p.chosen;
        if (pair < routed) sum *= p.weights[pair];
        parts[((long long)part * p.n + token) * width + row + within] = sum;
    }
}

// A block takes `each` times 16 rows, one after the other: finding an expert takes as long as reading some of them.
template <int FORMAT>
__device__ __forceinline__ void experts_down(const Pairs& p, const Input& input, float* parts, int width, int each) {
    float* room = (float*)dynamic_memory;
    int expert = expert_at(p, blockIdx.y), top = 16 * each * blockIdx.x;
    // The lists are older than the kernel before this one.
    int begin = expert < 0 ? 0 : p.starts[expert], end = expert < 0 ? 0 : p.starts[expert + 1];
    Matrix down[1] = {};
    if (begin < end) {
        down[0] = p.experts[expert].down;
        for (int i = 0; i < each; ++i) fetch_rows(down[0].codes, down[0].pitch, top + 16 * i, down[0].rows);
    }
    after_previous();
    for (int row = top; row < min(top + 16 * each, down[0].rows); row += 16) {
        int first = begin;
        for (; end - first > 8; first += 16) experts_down_tile<FORMAT, 2>(p, input, down, row, first, end, room, parts, width);
        if (first < end) experts_down_tile<FORMAT, 1>(p, input, down, row, first, end, room, parts, width);
    }
}

// Inner places of a piece.
#define PIECE 384

// What a block must know of an expert's second map.
struct Second {
    const u8* codes;
    const float* scales;
    int begin, end;
};

// For up to 8 tokens a block takes 16 rows of all experts, and a warp a piece of one expert's inner places at a time. What the pieces
// say is added in the order of each token's experts: `room` is [n, chosen + 1, most, 16], with `routed` pieces of chosen experts
// and `alone` of the shared block, none where another launch takes them. Behind it lie the experts and their pairs.
template <int FORMAT>
__device__ __forceinline__ void experts_down_few(const Pairs& p, const Input& input, float* out, int width, int add, int routed,
                                                 int alone) {
    const int format = Made<FORMAT>::of, count = Made<FORMAT>::planes, size = Unit<FORMAT>::size, each = PIECE / size;
    typedef Way<format, count> Weights;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int row = 16 * blockIdx.x, most = max(routed, alone), first_shared = p.n * p.chosen, said = p.n * (p.chosen + 1) * most * 16;
    u8* ways = (u8*)dynamic_memory;
    float* room = (float*)(ways + warps * WAY);
    Second* seconds = (Second*)(room + said);
    int* pairs = (int*)(seconds + first_shared + 1);
    for (int i = threadIdx.x; i < said; i += blockDim.x) room[i] = 0.0f;
    // The lists are older than the kernel before this one.
    int busy = routed ? p.counts[0] : 0, items = busy * routed + alone;
    for (int i = threadIdx.x; i < busy + (alone ? 1 : 0); i += blockDim.x) {
        int expert = i < busy ? p.active[i] : p.number;
        const Matrix& m = p.experts[expert].down;
        seconds[i] = {m.codes, m.scales, p.starts[expert], p.starts[expert + 1]};
    }
    for (int i = threadIdx.x; i < first_shared + p.n; i += blockDim.x) pairs[i] = p.order[i];
    // Chosen experts have one shape.
    Matrix of_routed = {}, of_alone = {};
    if (routed) of_routed = p.experts[p.active[0]].down;
    if (alone) of_alone = p.experts[p.number].down;
    __syncthreads();
    // This warp's units, item after item.
    int all = items > warp ? (items - warp + warps - 1) / warps * each : 0;
    Lines<format, count> lines;
    Weights way;
    way.open(ways);
    auto second_of = [&](int item) { return item < busy * routed ? item / routed : busy; };
    auto ask = [&](int number) {
        int item = warp + number / each * warps, first = 0, columns = 0;
        if (number < all) {
            bool chosen = item < busy * routed;
            const Second& second = seconds[second_of(item)];
            Matrix down[1] = {chosen ? of_routed : of_alone}, planes[count];
            down[0].codes = second.codes, down[0].scales = second.scales;
            first = (chosen ? item % routed : item - busy * routed) * each + number % each;
            columns = down[0].columns;
            planes_of<FORMAT, 1>(down, planes);
            lines.find(planes, row);
        }
        way.ask(lines, number, first, number < all && first * size < columns);
    };
    // Nothing is read of lines that nobody asks for; they must be somewhere.
    {
        Matrix down[1] = {routed ? of_routed : of_alone}, planes[count];
        planes_of<FORMAT, 1>(down, planes);
        lines.find(planes, row);
    }
#pragma unroll
    for (int i = 0; i < Weights::slots; ++i) ask(i);
    after_previous();
    for (int start = 0; start < all; start += each) {
        int item = warp + start / each * warps;
        bool chosen = item < busy * routed;
        const Second second = seconds[second_of(item)];
        int piece = chosen ? item % routed : item - busy * routed, pair[1] = {pairs[min(second.begin + g, second.end - 1)]};
        int columns = chosen ? of_routed.columns : of_alone.columns;
        Planes<1> x;
        find(input, 0, pair, x);
        float found[count][1][4] = {}, sums[1][1][4] = {};
#pragma unroll 1
        for (int i = 0; i < each; i += Weights::batch) {
            copies_wait<Weights::slots - Weights::batch>();
#pragma unroll
            for (int j = 0; j < Weights::batch; ++j) {
                // The last piece may be shorter: what is behind it has weights of zero.
                int unit = piece * PIECE + (i + j) * size;
                Piece<format, count> weights;
                way.take(start + i + j, weights);
                multiply<format, 1, count>(weights, unit < columns ? unit : 0, unit < columns, x, found);
            }
#pragma unroll
            for (int j = 0; j < Weights::batch; ++j) ask(start + i + j + Weights::slots);
        }
        join<FORMAT, 1, 1>(found, sums);
        float scales[2] = {1.0f, 1.0f};
        if (FORMAT == INT8)
            for (int r = 0; r < 2; ++r) scales[r] = second.scales[min(row + g + 8 * r, width - 1)];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            // Columns 2t and 2t + 1 are those of lanes four times as far.
            int column = 2 * t + c % 2, mine = __shfl_sync(0xffffffffu, pair[0], 4 * column), within = g + 8 * (c / 2);
            int part = mine < first_shared ? mine % p.chosen : p.chosen;
            float* place = room + (((token_of(p, mine) * (p.chosen + 1) + part) * most) + piece) * 16 + within;
            if (second.begin + column < second.end) *place = scales[c / 2] * sums[0][0][c];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 16 * p.n; i += blockDim.x) {
        int token = i / 16, within = i % 16;
        if (row + within >= width) continue;
        float sum_of_all = 0.0f;
        for (int part = 0; part <= p.chosen; ++part) {
            float sum = 0.0f;
            for (int piece = 0; piece < (part < p.chosen ? routed : alone); ++piece)
                sum += room[((token * (p.chosen + 1) + part) * most + piece) * 16 + within];
            sum_of_all += part < p.chosen && routed ? sum * p.weights[token * p.chosen + part] : sum;
        }
        float* to = out + (long long)token * width + row + within;
        *to = add ? *to + sum_of_all : sum_of_all;
    }
}

#define EXPERTS(NAME, FORMAT)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(256, 3) experts_up_##NAME##_few(Pairs p, Input input, u16* inner, int pitch,       \
                                                                              long long low) {                                  \
        experts_up<FORMAT, true>(p, input, inner, pitch, low);                                                             \
    }                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) experts_up_##NAME##_2(Pairs p, Input input, u16* inner, int pitch,         \
                                                                            long long low) {                                    \
        experts_up<FORMAT, false>(p, input, inner, pitch, low);                                                          \
    }                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(512) experts_down_##NAME##_few(Pairs p, Input input, float* out, int width,     \
                                                                                int add, int routed, int alone) {               \
        experts_down_few<FORMAT>(p, input, out, width, add, routed, alone);                                                     \
    }                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) experts_down_##NAME##_2(Pairs p, Input input, float* parts, int width,     \
                                                                              int each) {                                       \
        experts_down<FORMAT>(p, input, parts, width, each);                                                                  \
    }
EXPERTS(bf16, BF16) EXPERTS(int8, INT8) EXPERTS(int4, INT4) EXPERTS(exact, EXACT)

// ---- Many tokens ----
//
// A block of 8 warps takes a tile of 128 pairs by 256 rows of weights, 32 inner places at a time, four such steps under way. Warps
// stand two by four: 64 pairs by 64 rows each. For `gate` and `up` the rows are 128 of each, the same ones, so that a warp has
// both sides of its products. Weights are bfloat16, activations their high plane.

#define STEP 32
#define LINE (STEP + 8)
#define STAGES 4
#define STAGE ((128 + 256) * LINE)

template <bool UP>
__device__ __forceinline__ void grouped(const Pairs& p, const u16* x, int x_pitch, u16* inner, int pitch, float* parts, int width) {
    after_previous();
    u16* room = (u16*)dynamic_memory;
    if ((int)blockIdx.x >= p.counts[1]) return;
    int expert = p.tiles[2 * blockIdx.x], first = p.tiles[2 * blockIdx.x + 1];
    if (expert == p.number && !p.shared) return;
    const Expert& block = p.experts[expert];
    const Matrix a_side = UP ? block.gate : block.down, b_side = UP ? block.up : block.down;
    int row = (UP ? 128 : 256) * blockIdx.y, count = min(128, p.starts[expert + 1] - first);
    if (row >= a_side.rows) return;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, high = warp / 4, side = warp % 4;
    // Each thread copies two chunks of the activations and four of the weights a step.
    const u16 *from_x[2], *from_w[4];
    int there[2];
    int line = threadIdx.x / 4, within = 8 * (threadIdx.x % 4), place = line * LINE + within;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        int pair = p.order[first + min(line + 64 * i, count - 1)];
        from_x[i] = x + (long long)(UP ? token_of(p, pair) : pair) * x_pitch + within;
        there[i] = line + 64 * i < count ? 16 : 0;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const Matrix& m = i < 2 || !UP ? a_side : b_side;
        int wanted = min(row + line + 64 * (UP ? i % 2 : i), m.rows - 1);
        from_w[i] = (const u16*)(m.codes + (long long)wanted * m.pitch) + within;
    }
    int steps = (a_side.columns + STEP - 1) / STEP;
    auto load = [&](int step) {
        if (step < steps) {
            u16* at = room + step % STAGES * STAGE + place;
#pragma unroll
            for (int i = 0; i < 2; ++i) copy16(at + 64 * i * LINE, from_x[i] + step * STEP, there[i]);
#pragma unroll
            for (int i = 0; i < 4; ++i) copy16(at + (128 + 64 * i) * LINE, from_w[i] + step * STEP, 16);
        }
        copies_end();
    };
    float sums[4][8][4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
    for (int step = 0; step < STAGES - 1; ++step) load(step);
    for (int step = 0; step < steps; ++step) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        load(step + STAGES - 1);
        const u16* tile = room + step % STAGES * STAGE;
        const u16* weights = tile + 128 * LINE;
#pragma unroll
        for (int k = 0; k < STEP; k += 16) {
            u32 a[4][4];
#pragma unroll
            for (int i = 0; i < 4; ++i) tiles4(a[i], tile + (64 * high + 16 * i + lane % 16) * LINE + k + lane / 16 * 8);
            u32 b[4][4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                // Of `gate` and `up` a warp takes 32 rows each.
                int from = UP ? (j / 2) * 128 + 32 * side + 16 * (j % 2) : 64 * side + 16 * j;
                tiles4(b[j], weights + (from + lane % 8 + lane / 16 * 8) * LINE + k + lane / 8 % 2 * 8);
            }
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    mma(sums[i][2 * j], a[i][0], a[i][1], a[i][2], a[i][3], b[j][0], b[j][1]);
                    mma(sums[i][2 * j + 1], a[i][0], a[i][1], a[i][2], a[i][3], b[j][2], b[j][3]);
                }
        }
    }
    int routed = p.n * p.chosen;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int line = 64 * high + 16 * i + 8 * half + g;
            if (line >= count) continue;
            int pair = p.order[first + line];
            if (UP) {
                u16* to = inner + (long long)pair * pitch + row + 32 * side + 2 * t;
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    if (row + 32 * side + 8 * j + 2 * t >= a_side.rows) continue;
                    float u = silu(sums[i][j][2 * half]) * sums[i][j + 4][2 * half];
                    float v = silu(sums[i][j][2 * half + 1]) * sums[i][j + 4][2 * half + 1];
                    *(u32*)(to + 8 * j) = bf16_pair(u, v);
                }
            } else {
                float weight = pair < routed ? p.weights[pair] : 1.0f;
                int part = pair < routed ? pair % p.chosen : p.chosen;
                float* to = parts + ((long long)part * p.n + token_of(p, pair)) * width + row + 64 * side + 2 * t;
#pragma unroll
                for (int j = 0; j < 8; ++j)
                    if (row + 64 * side + 8 * j + 2 * t < a_side.rows)
                        *(float2*)(to + 8 * j) = make_float2(weight * sums[i][j][2 * half], weight * sums[i][j][2 * half + 1]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) grouped_up(Pairs p, const u16* x, int x_pitch, u16* inner, int pitch) {
    grouped<true>(p, x, x_pitch, inner, pitch, nullptr, 0);
}
extern "C" __global__ void __launch_bounds__(256, 1) grouped_down(Pairs p, const u16* inner, int pitch, float* parts, int width) {
    grouped<false>(p, inner, pitch, nullptr, 0, parts, width);
}

// Rows `blockIdx.x` of matrix `blockIdx.z` of every expert as bfloat16, to where `to` says.
extern "C" __global__ void spread_experts(const Expert* from, const Expert* to) {
    after_previous();
    const Expert &a = from[blockIdx.y], &b = to[blockIdx.y];
    const Matrix& m = blockIdx.z == 0 ? a.gate : blockIdx.z == 1 ? a.up : a.down;
    const Matrix& out = blockIdx.z == 0 ? b.gate : blockIdx.z == 1 ? b.up : b.down;
    int row = blockIdx.x;
    if (row >= m.rows) return;
    u8* line = (u8*)out.codes + (long long)row * out.pitch;
    for (int column = 8 * threadIdx.x; column < m.columns; column += 8 * blockDim.x) {
        float v[8];
        eight(m, row, column, v);
        *(uint4*)(line + 2 * column) =
            make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
    }
}
