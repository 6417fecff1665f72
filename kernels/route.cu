// Which experts each token goes to, and which tokens each expert gets.

struct Routing {
    int experts, chosen, groups, allowed, sigmoid, normalised;
    float factor;
    int unused;
};

// Lists of pairs by expert: pair `token · chosen + j` is a token's j-th expert; pair `n · chosen + token` its shared block.
struct Lists {
    int* order;     // pairs, expert after expert, the shared block's last
    int* starts;    // [experts + 2]
    int* active;    // experts that have tokens
    int* tiles;     // an expert and the first of some of its entries in `order`, that are taken together
    int* counts;    // of `active`, of `tiles`
    u64* load;      // tokens that each expert ever got; nothing where there is no router
};

// A number that is as much more than another's as the score is; nothing for what is no score.
__device__ __forceinline__ u32 standing_of(float score) {
    u32 bits = __float_as_uint(score);
    return score > -INFINITE ? bits ^ ((int)bits < 0 ? 0xffffffffu : 0x80000000u) : 0;
}

// Chooses for one token, a warp: `logits` parts lie `stride` apart, and are multiplied by `factor`. `room` holds
// 2 · experts + groups numbers, and at the end begins with the chosen experts.
__device__ void choose(const Routing& r, const float* logits, int parts, long long stride, float factor, const float* bias,
                       float* room, int* chosen, float* weights) {
    int lane = threadIdx.x % 32;
    float *scores = room, *selection = room + r.experts, *standing = selection + r.experts;
    float highest = -INFINITE;
#pragma unroll 4
    for (int e = lane; e < r.experts; e += 32) {
        float logit = 0.0f;
#pragma unroll 4
        for (int part = 0; part < parts; ++part) logit += __ldcg(logits + part * stride + e);
        logit *= factor;
        scores[e] = logit;
        highest = fmaxf(highest, logit);
    }
    highest = warp_highest(highest);
    float sum = 0.0f;
    for (int e = lane; e < r.experts; e += 32) {
        scores[e] = r.sigmoid ? 1.0f / (1.0f + expf(-scores[e])) : expf(scores[e] - highest);
        sum += scores[e];
    }
    sum = r.sigmoid ? 1.0f : warp_sum(sum);
    for (int e = lane; e < r.experts; e += 32) {
        scores[e] /= sum;
        selection[e] = scores[e] + (bias ? bias[e] : 0.0f);
    }
    __syncwarp();
    if (r.allowed < r.groups) {
        int size = r.experts / r.groups;
        for (int group = lane; group < r.groups; group += 32) {
            float best = -INFINITE, second = -INFINITE;
            for (int e = group * size; e < (group + 1) * size; ++e) {
                float score = selection[e];
                if (score > best) second = best, best = score;
                else if (score > second) second = score;
            }
            standing[group] = r.sigmoid ? best + second : best;
        }
        __syncwarp();
        // A group stays where fewer than `allowed` stand before it.
        for (int group = lane; group < r.groups; group += 32) {
            int before = 0;
            for (int other = 0; other < r.groups; ++other)
                before += standing[other] > standing[group] || (standing[other] == standing[group] && other < group);
            if (before >= r.allowed)
                for (int e = group * size; e < (group + 1) * size; ++e) selection[e] = -INFINITE;
        }
        __syncwarp();
    }
    float total = 0.0f, mine = 0.0f;
    int expert = 0x7fffffff;
    // How this lane's experts stand, as long as they are left: `lane`, `lane + 32`, … of at most 512.
    u32 standings[16];
#pragma unroll
    for (int i = 0; i < 16; ++i) standings[i] = lane + 32 * i < r.experts ? standing_of(selection[lane + 32 * i]) : 0;
    for (int j = 0; j < r.chosen; ++j) {
        u32 best = 0;
        int place = 0x7fffffff;
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            if (32 * i >= r.experts) break;
            if (standings[i] > best) best = standings[i], place = lane + 32 * i;
        }
        u32 top = __reduce_max_sync(0xffffffffu, best);
        // Numbers that are none choose nothing; the first experts stand in, so that every place is in bounds.
        place = top ? (int)__reduce_min_sync(0xffffffffu, best == top ? (u32)place : 0x7fffffffu) : j;
        float score = scores[place];
        total += score;
        if (lane == j) expert = place, mine = score;
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            if (32 * i >= r.experts) break;
            if (lane + 32 * i == place) standings[i] = 0;
        }
    }
    // In the order of their numbers.
    int rank = 0;
    for (int j = 0; j < r.chosen; ++j) {
        int other = __shfl_sync(0xffffffffu, expert, j);
        rank += other < expert || (other == expert && j < lane);
    }
    float size = r.normalised ? r.factor / (total + 1e-20f) : r.factor;
    __syncwarp();
    if (lane < r.chosen) {
        chosen[rank] = expert;
        ((int*)room)[rank] = expert;
        weights[rank] = mine * size;
    }
    __syncwarp();
}

// Sorts the pairs of the first `tokens` of `n` tokens by expert, a block; up to `tile` pairs of an expert are taken together.
// `room` holds 2 · experts + 2 numbers; `first` has the experts of the first token too.
__device__ void sort_pairs(const int* chosen, const int* first, int tokens, int n, int k, int experts, int tile, Lists lists, int* room) {
    if (tokens == 1) {
        // One token's experts are sorted already, and nobody asks for those it does not go to.
        int j = threadIdx.x;
        if (j < k) {
            int e = first[j];
            lists.active[j] = e, lists.order[j] = j;
            lists.starts[e] = j, lists.starts[e + 1] = j + 1;
            lists.tiles[2 * j] = e, lists.tiles[2 * j + 1] = j;
            lists.load[e] += 1;
        }
        __syncthreads();
        if (j == 0) {
            lists.order[k] = n * k, lists.starts[experts] = k, lists.starts[experts + 1] = k + 1;
            lists.tiles[2 * k] = experts, lists.tiles[2 * k + 1] = k;
            lists.counts[0] = k, lists.counts[1] = k + 1;
        }
        return;
    }
    int *count = room, *cursor = room + experts + 1;
    for (int e = threadIdx.x; e <= experts; e += blockDim.x) count[e] = e == experts ? tokens : 0;
    __syncthreads();
    int pairs = tokens * k;
    for (int p = threadIdx.x; p < pairs; p += blockDim.x) atomicAdd(count + __ldcg(chosen + p), 1);
    __syncthreads();
    if (threadIdx.x < 32) {
        int lane = threadIdx.x, each = (experts + 1 + 31) / 32, first = lane * each, mine = 0, busy = 0, tiles = 0;
        for (int e = first; e < min(experts + 1, first + each); ++e) {
            mine += count[e];
            busy += e < experts && count[e] > 0;
            tiles += (count[e] + tile - 1) / tile;
        }
        int start = mine, at = busy, place = tiles;
        for (int other = 1; other < 32; other <<= 1) {
            int a = __shfl_up_sync(0xffffffffu, start, other), b = __shfl_up_sync(0xffffffffu, at, other);
            int c = __shfl_up_sync(0xffffffffu, place, other);
            if (lane >= other) start += a, at += b, place += c;
        }
        if (lane == 31) lists.counts[0] = at, lists.counts[1] = place, lists.starts[experts + 1] = start;
        start -= mine, at -= busy, place -= tiles;
        for (int e = first; e < min(experts + 1, first + each); ++e) {
            lists.starts[e] = cursor[e] = start;
            if (e < experts && count[e] > 0) lists.active[at++] = e;
            for (int m = 0; m < count[e]; m += tile) lists.tiles[2 * place] = e, lists.tiles[2 * place + 1] = start + m, ++place;
            start += count[e];
        }
    }
    __syncthreads();
    for (int e = threadIdx.x; e < experts && lists.load; e += blockDim.x) lists.load[e] += count[e];
    int shared = cursor[experts];
    for (int p = threadIdx.x; p < pairs; p += blockDim.x) lists.order[atomicAdd(cursor + __ldcg(chosen + p), 1)] = p;
    for (int token = threadIdx.x; token < tokens; token += blockDim.x) lists.order[shared + token] = n * k + token;
}

// Scores of experts, as exact as in float32: weights in two planes as well. Blocks along x take 16 experts, along y a part of the inner
// places, along z 8 · TILES tokens. With `finish` the last block chooses for all tokens and sorts them. `logits` [parts, n, experts]
// are followed by the squares of each token, [parts, n], where there is a norm; what it makes of tokens is noted in their planes then.
template <int TILES, class Source>
__device__ __forceinline__ void route(const Matrix& high, const u8* low_codes, const Input& input, int n, float* logits, Routing r,
                                      const float* bias, int* chosen, float* weights, const int* tokens, Lists lists, u32* counter,
                                      int finish) {
    float* room = (float*)dynamic_memory;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, row = 16 * blockIdx.x;
    fetch_rows(high.codes, high.pitch, row, high.rows);
    if (low_codes) fetch_rows(low_codes, high.pitch, row, high.rows);
    if (Source::NORMED && blockIdx.x == 0) fetch_lines(input.weight, 4 * high.columns);
    after_previous();
    int first = 8 * TILES * blockIdx.z, wanted[TILES];
#pragma unroll
    for (int j = 0; j < TILES; ++j) wanted[j] = min(first + 8 * j + g, n - 1);
    Source x;
    find(input, high.columns, wanted, x);
    if constexpr (Source::NORMED) {
        x.to = blockIdx.x == 0 && g < n ? (u16*)input.planes + (long long)g * input.pitch : nullptr;
        x.low = input.low;
    }
    int from, to;
    share<BF16>(high.columns, warps * gridDim.y, blockIdx.y * warps + warp, from, to);
    float sums[2][TILES][4] = {};
    if (low_codes) {
        Matrix both[2] = {high, high};
        both[1].codes = low_codes;
        product<BF16, TILES, 2>(both, row, from, to, x, sums);
#pragma unroll
        for (int j = 0; j < TILES; ++j)
            for (int c = 0; c < 4; ++c) sums[0][j][c] += sums[1][j][c];
    } else {
        const Matrix all[1] = {high};
        float(&one)[1][TILES][4] = *(float(*)[1][TILES][4])&sums[0];
        product<BF16, TILES, 1>(all, row, from, to, x, one);
    }
    float* squares = room + warps * TILES * 128;
    gather<TILES>(sums[0], room, x, squares);
    float* out = logits + (long long)blockIdx.y * n * r.experts;
    for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
        int within = entry % 128 / 8, at = first + 8 * (entry / 128) + entry % 8;
        if (at < n && row + within < r.experts) out[(long long)at * r.experts + row + within] = gathered<TILES>(room, warps, entry);
    }
    float* parts = logits + (long long)gridDim.y * n * r.experts;
    if (Source::NORMED && blockIdx.x == 0 && (int)threadIdx.x < n) {
        float sum = 0.0f;
        for (int other = 0; other < warps; ++other) sum += squares[8 * other + threadIdx.x];
        parts[blockIdx.y * n + threadIdx.x] = sum;
    }
    if (!finish || !last_block(counter, gridDim.x * gridDim.y * gridDim.z)) return;
    int real = *tokens;
    for (int at = warp; at < real; at += warps) {
        float factor = 1.0f;
        if (Source::NORMED) {
            float sum = 0.0f;
            for (int part = 0; part < (int)gridDim.y; ++part) sum += __ldcg(parts + part * n + at);
            factor = rsqrtf(sum / (float)high.columns + input.epsilon);
        }
        choose(r, logits + (long long)at * r.experts, gridDim.y, (long long)n * r.experts, factor, bias,
               room + warp * (2 * r.experts + r.groups), chosen + at * r.chosen, weights + at * r.chosen);
    }
    __syncthreads();
    sort_pairs(chosen, (int*)room, real, n, r.chosen, r.experts, 8, lists, (int*)room);
}

#define ROUTE(NAME, TILES, SOURCE)                                                                                             \
    extern "C" __global__ void __launch_bounds__(256)                                                                          \
        route_##NAME(Matrix high, const u8* low, Input input, int n, float* logits, Routing r, const float* bias, int* chosen,  \
                     float* weights, const int* tokens, Lists lists, u32* counter, int finish) {                               \
        route<TILES, SOURCE>(high, low, input, n, logits, r, bias, chosen, weights, tokens, lists, counter, finish);            \
    }
ROUTE(normed, 1, Noted) ROUTE(1, 1, Planes<1>) ROUTE(4, 4, Planes<4>)

// The choice for many tokens, a warp each.
extern "C" __global__ void choose_many(Routing r, const float* logits, int n, const float* bias, int* chosen, float* weights) {
    after_previous();
    float* room = (float*)dynamic_memory;
    int warp = threadIdx.x / 32, at = blockIdx.x * (blockDim.x / 32) + warp;
    if (at >= n) return;
    choose(r, logits + (long long)at * r.experts, 1, 0, 1.0f, bias, room + warp * (2 * r.experts + r.groups), chosen + (long long)at * r.chosen,
           weights + (long long)at * r.chosen);
}

extern "C" __global__ void sort(const int* chosen, const int* tokens, int n, int k, int experts, int tile, Lists lists) {
    after_previous();
    float* room = (float*)dynamic_memory;
    sort_pairs(chosen, chosen, *tokens, n, k, experts, tile, lists, (int*)room);
}
