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

// The likeliest of each row's tokens; the first of equals.
extern "C" __global__ void likeliest(const float* logits, int vocabulary, int* out) {
    __shared__ float values[32];
    __shared__ int places[32];
    after_previous();
    const float* row = logits + (long long)blockIdx.x * vocabulary;
    float best = -INFINITE;
    int place = 0x7fffffff;
    for (int token = threadIdx.x; token < vocabulary; token += blockDim.x)
        if (row[token] > best) best = row[token], place = token;
    for (int lane = 16; lane > 0; lane >>= 1) {
        float other = __shfl_xor_sync(0xffffffffu, best, lane);
        int there = __shfl_xor_sync(0xffffffffu, place, lane);
        if (other > best || (other == best && there < place)) best = other, place = there;
    }
    if (threadIdx.x % 32 == 0) values[threadIdx.x / 32] = best, places[threadIdx.x / 32] = place;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < (int)blockDim.x / 32; ++warp)
            if (values[warp] > best || (values[warp] == best && places[warp] < place)) best = values[warp], place = places[warp];
        out[blockIdx.x] = place == 0x7fffffff ? 0 : place;
    }
}
