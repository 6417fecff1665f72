// Gated feed-forward blocks `down · (silu(gate · x) ∘ up · x)`: those of chosen experts and the shared one.
//
// For few tokens a block takes 16 rows of one expert for all of its tokens, so that every weight is read once; for many, tiles
// of 128 tokens by 128 rows. What an expert says of a token is kept apart (`parts`), and added in the order of experts by
// whoever reads it: the sum is the same whatever else is in the batch.

struct Expert {
    Matrix gate, up, down;
};

struct Pairs {
    const Expert* experts;  // the shared block is the last
    const int *order, *starts, *active, *tiles, *counts;
    const float* weights;   // of the pairs of chosen experts
    int n, chosen, number, shared;  // tokens, experts a token, experts, whether there is a shared block
};

// The expert that this block's place among the active ones means; the last place is the shared block's.
__device__ __forceinline__ int expert_at(const Pairs& p, int place) {
    if (p.shared && place == (int)gridDim.y - 1) return p.number;
    // Both are asked for at once.
    int count = p.counts[0], expert = p.active[place];
    return place < count ? expert : -1;
}

__device__ __forceinline__ int token_of(const Pairs& p, int pair) {
    int routed = p.n * p.chosen;
    return pair < routed ? pair / p.chosen : pair - routed;
}

template <int FORMAT, int TILES>
__device__ __forceinline__ void experts_up(const Pairs& p, const u16* x, int x_pitch, long long x_low, u16* inner, int pitch, long long low) {
    after_previous();
    float* room = (float*)dynamic_memory;
    int expert = expert_at(p, blockIdx.y), row = 16 * blockIdx.x;
    if (expert < 0) return;
    const Expert& block = p.experts[expert];
    Matrix gate = block.gate, up = block.up;
    if (row >= gate.rows) return;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, from, to;
    share<FORMAT>(gate.columns, warps, warp, from, to);
    int end = p.starts[expert + 1];
    for (int first = p.starts[expert]; first < end; first += 8 * TILES) {
        const u16* xs[TILES];
        float gates[TILES][4], ups[TILES][4];
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
            int at = first + 8 * j + g;
            xs[j] = at < end ? x + (long long)token_of(p, p.order[at]) * x_pitch : nullptr;
#pragma unroll
            for (int c = 0; c < 4; ++c) gates[j][c] = ups[j][c] = 0.0f;
        }
        product<FORMAT, TILES>(gate, row, from, to, xs, x_low, gates);
        product<FORMAT, TILES>(up, row, from, to, xs, x_low, ups);
        float* other = room + warps * TILES * 128;
        gather<TILES>(gates, room);
        gather<TILES>(ups, other);
        for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
            int within = entry % 128 / 8, at = first + 8 * (entry / 128) + entry % 8;
            if (at >= end || row + within >= gate.rows) continue;
            float u = gathered<TILES>(room, warps, entry), v = gathered<TILES>(other, warps, entry);
            if (FORMAT == INT8) u *= gate.scales[row + within], v *= up.scales[row + within];
            u16* to = inner + (long long)p.order[at] * pitch + row + within;
            split(silu(u) * v, to, to + low);
        }
    }
}

// A block takes `each` times 16 rows, one after the other: finding an expert takes as long as reading some of them.
template <int FORMAT, int TILES>
__device__ __forceinline__ void experts_down(const Pairs& p, const u16* inner, int pitch, long long low, float* parts, int width, int each) {
    float* room = (float*)dynamic_memory;
    int expert = expert_at(p, blockIdx.y), top = 16 * each * blockIdx.x;
    // The lists are older than the kernel before this one.
    int begin = expert < 0 ? 0 : p.starts[expert], end = expert < 0 ? 0 : p.starts[expert + 1];
    Matrix down = {};
    if (begin < end) {
        down = p.experts[expert].down;
        for (int i = 0; i < each; ++i) fetch_rows(down.codes, down.pitch, top + 16 * i, down.rows);
    }
    after_previous();
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, from, to;
    share<FORMAT>(down.columns, warps, warp, from, to);
    int routed = p.n * p.chosen;
    for (int first = begin; first < end; first += 8 * TILES) {
        const u16* xs[TILES];
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
            int at = first + 8 * j + g;
            xs[j] = at < end ? inner + (long long)p.order[at] * pitch : nullptr;
        }
        for (int row = top; row < min(top + 16 * each, down.rows); row += 16) {
            float sums[TILES][4];
#pragma unroll
            for (int j = 0; j < TILES; ++j) sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
            product<FORMAT, TILES>(down, row, from, to, xs, low, sums);
            gather<TILES>(sums, room);
            for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
                int within = entry % 128 / 8, at = first + 8 * (entry / 128) + entry % 8;
                if (at >= end || row + within >= down.rows) continue;
                float sum = gathered<TILES>(room, warps, entry);
                if (FORMAT == INT8) sum *= down.scales[row + within];
                int pair = p.order[at], token = token_of(p, pair), part = pair < routed ? pair % p.chosen : p.chosen;
                if (pair < routed) sum *= p.weights[pair];
                parts[((long long)part * p.n + token) * width + row + within] = sum;
            }
        }
    }
}

#define EXPERTS(NAME, FORMAT, TILES)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) experts_up_##NAME(Pairs p, const u16* x, int x_pitch, long long x_low,    \
                                                                        u16* inner, int pitch, long long low) {                \
        experts_up<FORMAT, TILES>(p, x, x_pitch, x_low, inner, pitch, low);                                                    \
    }                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) experts_down_##NAME(Pairs p, const u16* inner, int pitch, long long low,  \
                                                                          float* parts, int width, int each) {                 \
        experts_down<FORMAT, TILES>(p, inner, pitch, low, parts, width, each);                                                 \
    }
FOR_EACH_KIND(EXPERTS)

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
