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
    int* tiles;     // an expert and the first of up to 128 of its entries in `order`
    int* counts;    // of `active`, of `tiles`
    u64* load;      // tokens that each expert ever got; nothing where there is no router
};

// Chooses for one token, a warp: `logits` parts lie `stride` apart. `room` holds 2 · experts + groups numbers.
__device__ void choose(const Routing& r, const float* logits, int parts, long long stride, const float* bias, float* room, int* chosen,
                       float* weights) {
    int lane = threadIdx.x % 32;
    float *scores = room, *selection = room + r.experts, *standing = selection + r.experts;
    float highest = -INFINITE;
#pragma unroll 4
    for (int e = lane; e < r.experts; e += 32) {
        float logit = 0.0f;
#pragma unroll 4
        for (int part = 0; part < parts; ++part) logit += __ldcg(logits + part * stride + e);
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
    for (int j = 0; j < r.chosen; ++j) {
        float best = -INFINITE;
        int place = 0x7fffffff;
#pragma unroll 4
        for (int e = lane; e < r.experts; e += 32)
            if (selection[e] > best) best = selection[e], place = e;
        for (int other = 16; other > 0; other >>= 1) {
            float score = __shfl_xor_sync(0xffffffffu, best, other);
            int there = __shfl_xor_sync(0xffffffffu, place, other);
            if (score > best || (score == best && there < place)) best = score, place = there;
        }
        // Numbers that are none choose nothing; the first experts stand in, so that every place is in bounds.
        if (place == 0x7fffffff) place = j;
        float score = scores[place];
        total += score;
        if (lane == j) expert = place, mine = score;
        __syncwarp();
        if (lane == 0) selection[place] = -INFINITE;
        __syncwarp();
    }
    // In the order of their numbers.
    int rank = 0;
    for (int j = 0; j < r.chosen; ++j) {
        int other = __shfl_sync(0xffffffffu, expert, j);
        rank += other < expert || (other == expert && j < lane);
    }
    float factor = r.normalised ? r.factor / (total + 1e-20f) : r.factor;
    if (lane < r.chosen) {
        chosen[rank] = expert;
        weights[rank] = mine * factor;
    }
    __syncwarp();
}

// Sorts the pairs of the first `tokens` of `n` tokens by expert, a block. `room` holds 2 · experts + 2 numbers.
__device__ void sort_pairs(const int* chosen, int tokens, int n, int k, int experts, Lists lists, int* room) {
    if (tokens == 1) {
        // One token's experts are sorted already, and nobody asks for those it does not go to.
        int j = threadIdx.x;
        if (j < k) {
            int e = __ldcg(chosen + j);
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
            tiles += (count[e] + 127) / 128;
        }
        int start = mine, at = busy, tile = tiles;
        for (int other = 1; other < 32; other <<= 1) {
            int a = __shfl_up_sync(0xffffffffu, start, other), b = __shfl_up_sync(0xffffffffu, at, other);
            int c = __shfl_up_sync(0xffffffffu, tile, other);
            if (lane >= other) start += a, at += b, tile += c;
        }
        if (lane == 31) lists.counts[0] = at, lists.counts[1] = tile, lists.starts[experts + 1] = start;
        start -= mine, at -= busy, tile -= tiles;
        for (int e = first; e < min(experts + 1, first + each); ++e) {
            lists.starts[e] = cursor[e] = start;
            if (e < experts && count[e] > 0) lists.active[at++] = e;
            for (int m = 0; m < count[e]; m += 128) lists.tiles[2 * tile] = e, lists.tiles[2 * tile + 1] = start + m, ++tile;
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
// places, along z 8 · TILES tokens. With `finish` the last block chooses for all tokens and sorts them.
template <int TILES>
__device__ __forceinline__ void route(const Matrix& high, const u8* low_codes, const u16* x, int x_pitch, long long x_low, int n,
                                      float* logits, Routing r, const float* bias, int* chosen, float* weights,
                                      const int* tokens, Lists lists, u32* counter, int finish) {
    float* room = (float*)dynamic_memory;
    int warps = blockDim.x / 32, warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, row = 16 * blockIdx.x;
    fetch_rows(high.codes, high.pitch, row, high.rows);
    if (low_codes) fetch_rows(low_codes, high.pitch, row, high.rows);
    after_previous();
    int token = 8 * TILES * blockIdx.z;
    const u16 *xs[TILES];
    float sums[TILES][4];
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
        int at = token + 8 * j + g;
        xs[j] = at < n ? x + (long long)at * x_pitch : nullptr;
        sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
    }
    int from, to;
    share<BF16>(high.columns, warps * gridDim.y, blockIdx.y * warps + warp, from, to);
    product<BF16, TILES>(high, row, from, to, xs, x_low, sums);
    if (low_codes) {
        Matrix low = high;
        low.codes = low_codes;
        product<BF16, TILES>(low, row, from, to, xs, x_low, sums);
    }
    gather<TILES>(sums, room);
    float* out = logits + (long long)blockIdx.y * n * r.experts;
    for (int entry = threadIdx.x; entry < 128 * TILES; entry += blockDim.x) {
        int within = entry % 128 / 8, at = token + 8 * (entry / 128) + entry % 8;
        if (at < n && row + within < r.experts) out[(long long)at * r.experts + row + within] = gathered<TILES>(room, warps, entry);
    }
    if (!finish || !last_block(counter, gridDim.x * gridDim.y * gridDim.z)) return;
    int real = *tokens;
    for (int at = warp; at < real; at += warps)
        choose(r, logits + (long long)at * r.experts, gridDim.y, (long long)n * r.experts, bias,
               room + warp * (2 * r.experts + r.groups), chosen + at * r.chosen, weights + at * r.chosen);
    __syncthreads();
    sort_pairs(chosen, real, n, r.chosen, r.experts, lists, (int*)room);
}

#define ROUTE(TILES)                                                                                                             \
    extern "C" __global__ void __launch_bounds__(256) route_##TILES(                                                             \
        Matrix high, const u8* low, const u16* x, int x_pitch, long long x_low, int n, float* logits, Routing r, const float* bias, \
        int* chosen, float* weights, const int* tokens, Lists lists, u32* counter, int finish) {                                 \
        route<TILES>(high, low, x, x_pitch, x_low, n, logits, r, bias, chosen, weights, tokens, lists, counter, finish);          \
    }
ROUTE(1) ROUTE(4)

// The choice for many tokens, a warp each.
extern "C" __global__ void choose_many(Routing r, const float* logits, int n, const float* bias, int* chosen, float* weights) {
    after_previous();
    float* room = (float*)dynamic_memory;
    int warp = threadIdx.x / 32, at = blockIdx.x * (blockDim.x / 32) + warp;
    if (at >= n) return;
    choose(r, logits + (long long)at * r.experts, 1, 0, bias, room + warp * (2 * r.experts + r.groups), chosen + (long long)at * r.chosen,
           weights + (long long)at * r.chosen);
}

extern "C" __global__ void sort(const int* chosen, const int* tokens, int n, int k, int experts, Lists lists) {
    after_previous();
    float* room = (float*)dynamic_memory;
    sort_pairs(chosen, *tokens, n, k, experts, lists, (int*)room);
}
