// Embedding, rotations of positions, and root-mean-square norms.

// Token `row`'s line of the table.
extern "C" __global__ void embed(Matrix table, const int* tokens, float* out, int width) {
    after_previous();
    int row = blockIdx.x, token = tokens[row];
    for (int column = 8 * threadIdx.x; column < table.columns; column += 8 * blockDim.x) {
        float v[8];
        eight(table, token, column, v);
        for (int i = 0; i < 8 && column + i < table.columns; ++i) out[(long long)row * width + column + i] = v[i];
    }
}

// Cosine and sine of each position and pair of dimensions, [n, pairs] of two numbers.
extern "C" __global__ void angles(const int* positions, const float* frequencies, int pairs, float magnitude, float2* out) {
    after_previous();
    int row = blockIdx.x;
    for (int pair = threadIdx.x; pair < pairs; pair += blockDim.x) {
        float sine, cosine;
        sincosf((float)positions[row] * frequencies[pair], &sine, &cosine);
        out[(long long)row * pairs + pair] = make_float2(cosine * magnitude, sine * magnitude);
    }
}

// Adds `parts` buffers [rows, width] that lie `stride` apart to x, and normalises it to both planes. `rows` names the row of x
// for each row of the output, or is nothing. Where `keep` is set the sum is written back.
extern "C" __global__ void normalise(float* x, int x_width, const float* add, int add_width, int parts, long long stride,
                                     const float* weight, int width, float epsilon, const int* rows, int keep, u16* out,
                                     int pitch, long long low) {
    after_previous();
    float* line = (float*)dynamic_memory;
    long long row = rows ? rows[blockIdx.x] : blockIdx.x;
    float* source = x + row * x_width;
    float squares = 0.0f;
    for (int column = threadIdx.x; column < width; column += blockDim.x) {
        float value = source[column];
        float added = 0.0f;
        for (int part = 0; part < parts; ++part) added += add[part * stride + row * add_width + column];
        value += added;
        if (keep) source[column] = value;
        line[column] = value;
        squares += value * value;
    }
    float factor = rsqrtf(block_sum(squares) / (float)width + epsilon);
    u16* to = out + (long long)blockIdx.x * pitch;
    for (int column = threadIdx.x; column < width; column += blockDim.x)
        split(line[column] * factor * weight[column], to + column, to + low + column);
}

// Of two tokens the likelier, of equals the first.
__device__ __forceinline__ void take_likelier(float& best, int& place, float other, int there) {
    if (other > best || (other == best && there < place)) best = other, place = there;
}

// The likeliest of each row's tokens; the first of equals. Blocks along x take parts of a row; the last to end joins what they
// `found`, a logit and a token each.
extern "C" __global__ void likeliest(const float* logits, int vocabulary, int2* found, u32* counters, int* out) {
    __shared__ float values[32];
    __shared__ int places[32];
    after_previous();
    const float* row = logits + (long long)blockIdx.y * vocabulary;
    int each = (vocabulary + gridDim.x - 1) / gridDim.x, from = each * blockIdx.x, to = min(vocabulary, from + each);
    float best = -INFINITE;
    int place = 0x7fffffff, lane = threadIdx.x % 32;
#pragma unroll 4
    for (int token = from + threadIdx.x; token < to; token += blockDim.x)
        if (row[token] > best) best = row[token], place = token;
    for (int other = 16; other > 0; other >>= 1)
        take_likelier(best, place, __shfl_xor_sync(0xffffffffu, best, other), __shfl_xor_sync(0xffffffffu, place, other));
    if (lane == 0) values[threadIdx.x / 32] = best, places[threadIdx.x / 32] = place;
    __syncthreads();
    found += blockIdx.y * gridDim.x;
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < (int)blockDim.x / 32; ++warp) take_likelier(best, place, values[warp], places[warp]);
        found[blockIdx.x] = make_int2(__float_as_int(best), place);
    }
    if (!last_block(counters + blockIdx.y, gridDim.x) || threadIdx.x != 0) return;
    best = -INFINITE, place = 0x7fffffff;
#pragma unroll 8
    for (int part = 0; part < (int)gridDim.x; ++part) {
        int2 there = __ldcg(found + part);
        take_likelier(best, place, __int_as_float(there.x), there.y);
    }
    out[blockIdx.y] = place == 0x7fffffff ? 0 : place;
}
