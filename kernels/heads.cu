// What comes before attention: heads are normalised and turned to their positions, keys and values go to the cache.

// Writes to the cache, whose low plane lies `low` further in a row, or is not there.
__device__ __forceinline__ void keep(float value, u16* to, int low) {
    if (low) split(value, to, to + low);
    else *to = bf16_bits(value);
}

// Grouped-query attention: a warp for each head of a token's queries, keys and values. Queries go to `queries`
// [n, heads, size], keys and values to row `slots[token]` of the cache; a token without a slot is passed over.
extern "C" __global__ void turn_grouped(const float* qkv, int width, int heads, int kv_heads, int size, const float* q_weight,
                                        const float* k_weight, float epsilon, const float2* angles, int neighbours,
                                        const int* slots, u16* queries, long long queries_low, u16* cache, int cache_width, int cache_low) {
    after_previous();
    int token = blockIdx.x, head = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    int slot = slots[token], pairs = size / 2;
    if (head >= heads + 2 * kv_heads) return;
    const float* x = qkv + (long long)token * width + head * size;
    if (head >= heads + kv_heads) {
        if (slot < 0) return;
        u16* to = cache + (long long)slot * cache_width + (head - heads) * size;
        for (int i = lane; i < size; i += 32) keep(x[i], to + i, cache_low);
        return;
    }
    float squares = 0.0f;
    for (int i = lane; i < size; i += 32) squares += x[i] * x[i];
    float factor = rsqrtf(warp_sum(squares) / (float)size + epsilon);
    const float* weight = head < heads ? q_weight : k_weight;
    if (head >= heads && slot < 0) return;
    u16* to = head < heads ? queries + ((long long)token * heads + head) * size
                           : cache + (long long)slot * cache_width + (head - heads) * size;
    for (int pair = lane; pair < pairs; pair += 32) {
        int a, b;
        pair_of(pair, pairs, neighbours, a, b);
        float2 turn = angles[(long long)token * pairs + pair];
        float u = x[a] * factor * weight[a], v = x[b] * factor * weight[b];
        float first = u * turn.x - v * turn.y, second = v * turn.x + u * turn.y;
        if (head < heads) {
            split(first, to + a, to + queries_low + a);
            split(second, to + b, to + queries_low + b);
        } else {
            keep(first, to + a, cache_low);
            keep(second, to + b, cache_low);
        }
    }
}

// Multi-head latent attention, a block for each token: the latent is normalised and written with the turned key to the cache,
// and the turned part of each head's query goes behind the latent part of `queries` [n, heads, rank + turned].
extern "C" __global__ void turn_latent(const float* q, int q_width, const float* kv, int kv_width, int first, int heads,
                                       int content, int turned, int rank, const float* weight, float epsilon,
                                       const float2* angles, int neighbours, const int* slots, u16* queries, long long queries_low,
                                       u16* cache, int cache_width, int cache_low) {
    after_previous();
    int token = blockIdx.x, slot = slots[token], pairs = turned / 2, wide = rank + turned;
    const float* latent = kv + (long long)token * kv_width + first;
    const float2* turns = angles + (long long)token * pairs;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < rank; i += blockDim.x) squares += latent[i] * latent[i];
    float factor = rsqrtf(block_sum(squares) / (float)rank + epsilon);
    if (slot >= 0) {
        u16* to = cache + (long long)slot * cache_width;
        for (int i = threadIdx.x; i < rank; i += blockDim.x) keep(latent[i] * factor * weight[i], to + i, cache_low);
        for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
            int a, b;
            pair_of(pair, pairs, neighbours, a, b);
            float u = latent[rank + a], v = latent[rank + b];
            keep(u * turns[pair].x - v * turns[pair].y, to + rank + a, cache_low);
            keep(v * turns[pair].x + u * turns[pair].y, to + rank + b, cache_low);
        }
    }
    for (int i = threadIdx.x; i < heads * pairs; i += blockDim.x) {
        int head = i / pairs, pair = i % pairs, a, b;
        pair_of(pair, pairs, neighbours, a, b);
        const float* x = q + (long long)token * q_width + head * (content + turned) + content;
        u16* to = queries + ((long long)token * heads + head) * wide + rank;
        split(x[a] * turns[pair].x - x[b] * turns[pair].y, to + a, to + queries_low + a);
        split(x[b] * turns[pair].x + x[a] * turns[pair].y, to + b, to + queries_low + b);
    }
}

// What would turn latents into keys is multiplied into the queries: the latent part of `queries` is the content part of `q`
// times the head's `content` rows of `kv_b`. A block takes a head, 128 columns of the latent and four tokens; 16 threads
// stand for eight columns each, and 8 such rows of threads share the inner places.
extern "C" __global__ void __launch_bounds__(128) absorb(Matrix kv_b, const float* q, int q_width, int n, int content, int turned,
                                                         int each, int heads, u16* queries, long long queries_low) {
    after_previous();
    float* room = (float*)dynamic_memory;
    float* held = room + 128 * 32;
    int head = blockIdx.x, rank = kv_b.columns, token = 4 * blockIdx.z, count = min(4, n - token);
    int column = 128 * blockIdx.y + 8 * (threadIdx.x % 16), part = threadIdx.x / 16;
    for (int i = threadIdx.x; i < 4 * content; i += 128)
        held[i] = i / content < count ? q[(long long)(token + i / content) * q_width + head * (content + turned) + i % content] : 0.0f;
    __syncthreads();
    float sums[4][8] = {};
    if (column < rank) {
        int share = (content + 7) / 8;
#pragma unroll 4
        for (int row = part * share; row < min(content, (part + 1) * share); ++row) {
            float v[8];
            eight(kv_b, head * each + row, column, v);
#pragma unroll
            for (int t = 0; t < 4; ++t) {
                float x = held[t * content + row];
#pragma unroll
                for (int i = 0; i < 8; ++i) sums[t][i] += x * v[i];
            }
        }
    }
    for (int t = 0; t < 4; ++t)
        for (int i = 0; i < 8; ++i) room[(t * 8 + part) * 128 + 8 * (threadIdx.x % 16) + i] = sums[t][i];
    __syncthreads();
    int place = 128 * blockIdx.y + threadIdx.x;
    if (place >= rank) return;
    for (int t = 0; t < count; ++t) {
        float sum = 0.0f;
        for (int i = 0; i < 8; ++i) sum += room[(t * 8 + i) * 128 + threadIdx.x];
        u16* to = queries + ((long long)(token + t) * heads + head) * (rank + turned) + place;
        split(sum, to, to + queries_low);
    }
}
