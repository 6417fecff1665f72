// Gated feed-forward blocks `down · (silu(gate · x) ∘ up · x)`: those of chosen experts and the shared one.
//
// For few tokens, rows of 16 of an expert's weights are read once for up to 8 · TILES of its tokens, by blocks that stay and take
// one such task after the other, so that weights never stop coming; for many, tiles of 128 tokens by 128 rows. What an expert
// says of a token is kept apart (`parts`), and added in the order of experts by whoever reads it: the sum is the same whatever
// else is in the batch.

// Which places of the list `tiles` a launch takes: `p.shared` is 0 for those of chosen experts, 2 for those of the shared block, which
// are the last, 1 for both. Up to 8 tokens, every expert has one place.
template <int TILES> __device__ __forceinline__ void places_of(const Pairs& p, int& from, int& to) {
    int all = p.counts[1], alone = (p.starts[p.number + 1] - p.starts[p.number] + 8 * TILES - 1) / (8 * TILES);
    from = p.shared == 2 ? all - alone : 0;
    to = p.shared == 0 ? all - alone : all;
}

// 16 rows of an expert's first maps, for its pairs from `first` to `end`.
struct Task {
    const u8* codes[2];
    const float* scales[2];
    int row, rows, first, end;
};

// `form` is a first map without its codes, `over` the rows of 16 that the largest has.
template <int FORMAT, int TILES>
__device__ __forceinline__ void experts_up(const Pairs& p, const Input& input, u16* inner, int pitch, long long low, const Matrix& form,
                                           int over) {
    const int each_tile = 128 * TILES;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float *room = (float*)((u8*)dynamic_memory + warps * WAY), *other = room + warps * each_tile, *factors = other + warps * each_tile;
    Task* tasks = (Task*)(factors + 8 * TILES);
    if (blockIdx.x < 8) fetch_lines(p.experts, (p.number + 1) * (int)sizeof(Expert));
    after_previous();
    int first_place, last_place;
    places_of<TILES>(p, first_place, last_place);
    int all = (last_place - first_place) * over, mine = (all - (int)blockIdx.x + (int)gridDim.x - 1) / (int)gridDim.x;
    if (mine <= 0) return;
    for (int i = threadIdx.x; i < mine; i += blockDim.x) {
        int number = blockIdx.x + i * gridDim.x, place = first_place + number / over, expert = p.tiles[2 * place], first = p.tiles[2 * place + 1];
        const Matrix &gate = p.experts[expert].gate, &up = p.experts[expert].up;
        tasks[i] = {{gate.codes, up.codes}, {gate.scales, up.scales}, 16 * (number % over), gate.rows, first, min(first + 8 * TILES, p.starts[expert + 1])};
    }
    __syncthreads();
    int from, to, asked = 0;
    share<FORMAT>(form.columns, warps, warp, from, to);
    Flow<FORMAT, 2> weights;
    weights.open(dynamic_memory, p.experts);
    auto more = [&]() {
        if (weights.empty() && asked < mine) {
            const Task& task = tasks[asked++];
            Matrix sides[2] = {form, form};
#pragma unroll
            for (int side = 0; side < 2; ++side)
                sides[side].codes = task.codes[side], sides[side].scales = task.scales[side], sides[side].rows = task.rows;
            weights.next(sides, task.row, from, to);
        }
        weights.ask();
    };
    for (int i = 0; i < Flow<FORMAT, 2>::slots; ++i) more();
    for (int i = 0; i < mine; ++i) {
        const Task& task = tasks[i];
        int tokens[TILES];
#pragma unroll
        for (int j = 0; j < TILES; ++j) tokens[j] = token_of(p, p.order[min(task.first + 8 * j + g, task.end - 1)]);
        Planes<TILES> x;
        find(input, form.columns, tokens, x);
        float squares[TILES];
        if (input.squares && warp == 0) {
#pragma unroll
            for (int j = 0; j < TILES; ++j) squares[j] = squares_of(input, p.n, tokens[j]);
        }
        float sums[2][TILES][4] = {};
        weights.template multiply<TILES>(from, to, x, sums, more);
        __syncthreads();
        lay<TILES>(sums[0], room);
        lay<TILES>(sums[1], other);
        if (warp == 0 && t == 0) {
#pragma unroll
            for (int j = 0; j < TILES; ++j)
                factors[8 * j + g] = input.squares ? rsqrtf(squares[j] / (float)form.columns + input.epsilon) : 1.0f;
        }
        __syncthreads();
        for (int entry = threadIdx.x; entry < each_tile; entry += blockDim.x) {
            int within = entry % 128 / 8, column = 8 * (entry / 128) + entry % 8, at = task.first + column;
            if (at >= task.end || task.row + within >= task.rows) continue;
            float u = factors[column] * gathered<TILES>(room, warps, entry), v = factors[column] * gathered<TILES>(other, warps, entry);
            if (FORMAT == INT8) u *= task.scales[0][task.row + within], v *= task.scales[1][task.row + within];
            u16* to = inner + (long long)p.order[at] * pitch + task.row + within;
            split(silu(u) * v, to, to + low);
        }
    }
}

// An expert's second map, for its pairs from `first` to `end`.
struct Second {
    const u8* codes;
    const float* scales;
    int columns, pitch, first, end;
};

// Beyond 8 tokens, each warp takes 16 rows of an expert's second map at a time, whole: there is nothing to be brought together.
template <int FORMAT, int TILES>
__device__ __forceinline__ void experts_down(const Pairs& p, const Input& input, float* parts, int width, const Matrix& form) {
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    Second* seconds = (Second*)((u8*)dynamic_memory + warps * WAY);
    // The lists are older than the kernel before this one.
    int first_place, last_place;
    places_of<TILES>(p, first_place, last_place);
    for (int i = first_place + threadIdx.x; i < last_place; i += blockDim.x) {
        int expert = p.tiles[2 * i], first = p.tiles[2 * i + 1];
        const Matrix& m = p.experts[expert].down;
        seconds[i - first_place] = {m.codes, m.scales, m.columns, (int)m.pitch, first, min(first + 8 * TILES, p.starts[expert + 1])};
    }
    __syncthreads();
    int over = (width + 15) / 16, all = (last_place - first_place) * over, step = gridDim.x * warps, asked = blockIdx.x * warps + warp;
    Flow<FORMAT, 1> weights;
    weights.open(dynamic_memory, p.experts);
    auto more = [&]() {
        if (weights.empty() && asked < all) {
            const Second& second = seconds[asked / over];
            Matrix down[1] = {form};
            down[0].codes = second.codes, down[0].scales = second.scales, down[0].columns = second.columns, down[0].pitch = second.pitch;
            weights.next(down, 16 * (asked % over), 0, (second.columns + Unit<FORMAT>::size - 1) / Unit<FORMAT>::size * Unit<FORMAT>::size);
            asked += step;
        }
        weights.ask();
    };
    int routed = p.n * p.chosen, number = asked;
    for (int i = 0; i < Flow<FORMAT, 1>::slots; ++i) more();
    after_previous();
    for (; number < all; number += step) {
        const Second& second = seconds[number / over];
        int row = 16 * (number % over), pairs[TILES];
#pragma unroll
        for (int j = 0; j < TILES; ++j) pairs[j] = p.order[min(second.first + 8 * j + g, second.end - 1)];
        Planes<TILES> x;
        find(input, 0, pairs, x);
        float sums[1][TILES][4] = {};
        int to = (second.columns + Unit<FORMAT>::size - 1) / Unit<FORMAT>::size * Unit<FORMAT>::size;
        weights.template multiply<TILES>(0, to, x, sums, more);
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                // Columns 2t and 2t + 1 are those of lanes four times as far.
                int column = 2 * t + c % 2, pair = __shfl_sync(0xffffffffu, pairs[j], 4 * column), line = row + g + 8 * (c / 2);
                if (second.first + 8 * j + column >= second.end || line >= width) continue;
                float sum = sums[0][j][c];
                if (FORMAT == INT8) sum *= second.scales[line];
                if (pair < routed) sum *= p.weights[pair];
                parts[((long long)(pair < routed ? pair % p.chosen : p.chosen) * p.n + token_of(p, pair)) * width + line] = sum;
            }
        }
    }
}

// Inner places of a piece.
#define PIECE 256

// For up to 8 tokens a block takes 16 rows of all experts, and a warp a piece of one expert's inner places at a time. What the pieces
// say is added in the order of each token's experts: `room` is [n, chosen + 1, most, 16], with `routed` pieces of chosen experts
// and `alone` of the shared block, none where another launch takes them. Behind it lie the experts, their pairs, and the weights of these.
// Chosen experts have one shape; `of_routed` and `of_alone` are second maps without their codes.
template <int FORMAT>
__device__ __forceinline__ void experts_down_few(const Pairs& p, const Input& input, float* out, int width, int add, int routed,
                                                 int alone, const Matrix& of_routed, const Matrix& of_alone) {
    const int size = Unit<FORMAT>::size;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int row = 16 * blockIdx.x, parts = p.chosen + 1, most = max(routed, alone), chosen_pairs = p.n * p.chosen;
    float* room = (float*)((u8*)dynamic_memory + warps * WAY);
    Second* seconds = (Second*)(room + p.n * parts * most * 16);
    int* pairs = (int*)(seconds + chosen_pairs + 1);
    float* shares = (float*)(pairs + p.n * parts);
    // The lists are older than the kernel before this one.
    int busy = routed ? p.counts[0] : 0;
    for (int i = threadIdx.x; i <= chosen_pairs; i += blockDim.x) {
        bool shared = i == chosen_pairs;
        int expert = shared ? p.number : p.active[min(i, p.number)];
        if (shared ? !alone : i >= busy) continue;
        const Matrix& m = p.experts[expert].down;
        seconds[i] = {m.codes, m.scales, m.columns, (int)m.pitch, p.starts[expert], p.starts[expert + 1]};
    }
    for (int i = threadIdx.x; i < p.n * parts; i += blockDim.x) pairs[i] = p.order[i];
    for (int i = threadIdx.x; i < chosen_pairs && routed; i += blockDim.x) shares[i] = p.weights[i];
    for (int i = threadIdx.x; i < p.n * parts * most * 16; i += blockDim.x) room[i] = 0.0f;
    __syncthreads();
    int items = busy * routed + alone, asked = warp;
    Flow<FORMAT, 1> weights;
    weights.open(dynamic_memory, p.experts);
    // An item's expert, and its piece.
    auto expert_of = [&](int item) { return item < busy * routed ? item / routed : chosen_pairs; };
    auto piece_of = [&](int item) { return item < busy * routed ? item % routed : item - busy * routed; };
    auto end_of = [&](int item) {
        int columns = item < busy * routed ? of_routed.columns : of_alone.columns;
        return min((piece_of(item) + 1) * PIECE, (columns + size - 1) / size * size);
    };
    auto more = [&]() {
        if (weights.empty() && asked < items) {
            Matrix down[1] = {asked < busy * routed ? of_routed : of_alone};
            const Second& second = seconds[expert_of(asked)];
            down[0].codes = second.codes, down[0].scales = second.scales;
            weights.next(down, row, piece_of(asked) * PIECE, end_of(asked));
            asked += warps;
        }
        weights.ask();
    };
    for (int i = 0; i < Flow<FORMAT, 1>::slots; ++i) more();
    after_previous();
    for (int item = warp; item < items; item += warps) {
        const Second& second = seconds[expert_of(item)];
        int piece = piece_of(item), pair[1] = {pairs[min(second.first + g, second.end - 1)]};
        Planes<1> x;
        find(input, 0, pair, x);
        float sums[1][1][4] = {};
        weights.template multiply<1>(piece * PIECE, end_of(item), x, sums, more);
        float scales[2] = {1.0f, 1.0f};
        if (FORMAT == INT8)
            for (int r = 0; r < 2; ++r) scales[r] = second.scales[min(row + g + 8 * r, width - 1)];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            // Columns 2t and 2t + 1 are those of lanes four times as far.
            int column = 2 * t + c % 2, mine = __shfl_sync(0xffffffffu, pair[0], 4 * column), within = g + 8 * (c / 2);
            int part = mine < chosen_pairs ? mine % p.chosen : p.chosen;
            if (second.first + column < second.end)
                room[((token_of(p, mine) * parts + part) * most + piece) * 16 + within] = scales[c / 2] * sums[0][0][c];
        }
    }
    __syncthreads();
    // A warp for each token: lanes of 16 rows, twice, for every second part.
    for (int token = warp; token < p.n; token += warps) {
        int within = lane % 16;
        float sum = 0.0f;
        for (int part = lane / 16; part < parts; part += 2) {
            const float* said = room + (token * parts + part) * most * 16 + within;
            int pieces = part < p.chosen ? routed : alone;
            float one = 0.0f;
#pragma unroll 3
            for (int piece = 0; piece < pieces; ++piece) one += said[16 * piece];
            sum += part < p.chosen && routed ? one * shares[token * p.chosen + part] : one;
        }
        sum += __shfl_xor_sync(0xffffffffu, sum, 16);
        if (lane >= 16 || row + within >= width) continue;
        float* to = out + (long long)token * width + row + within;
        *to = add ? *to + sum : sum;
    }
}

#define EXPERTS_UP(NAME, FORMAT, TILES, BLOCKS)                                                                                 \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS)                                                                  \
        experts_up_##NAME##_##TILES(Pairs p, Input input, u16* inner, int pitch, long long low, Matrix form, int over) {         \
        experts_up<FORMAT, TILES>(p, input, inner, pitch, low, form, over);                                                    \
    }
#define EXPERTS_DOWN(NAME, FORMAT, TILES)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                                       \
        experts_down_##NAME##_##TILES(Pairs p, Input input, float* parts, int width, Matrix form) {                              \
        experts_down<FORMAT, TILES>(p, input, parts, width, form);                                                             \
    }
#define EXPERTS(NAME, FORMAT, BLOCKS)                                                                                          \
    EXPERTS_UP(NAME, FORMAT, 1, BLOCKS) EXPERTS_UP(NAME, FORMAT, 2, 2) EXPERTS_DOWN(NAME, FORMAT, 1) EXPERTS_DOWN(NAME, FORMAT, 2) \
    extern "C" __global__ void __launch_bounds__(768)                                                                          \
        experts_down_##NAME##_few(Pairs p, Input input, float* out, int width, int add, int routed, int alone, Matrix of_routed,  \
                                  Matrix of_alone) {                                                                           \
        experts_down_few<FORMAT>(p, input, out, width, add, routed, alone, of_routed, of_alone);                                 \
    }
EXPERTS(bf16, BF16, 3) EXPERTS(int8, INT8, 3) EXPERTS(int4, INT4, 2) EXPERTS(exact, EXACT, 2)

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
