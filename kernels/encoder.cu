// The encoder of understanding: a BERT of MiniLM's shape with experts, for texts laid end to end.
//
// Every product of it has 384 inputs and 384 outputs (queries, keys and values are three). A block takes some rows of tokens into
// shared memory, lets the whole matrix pass by in slabs of 16 inner places, and holds the sums of its rows in registers, so that
// what follows a product (a norm, the choice of experts, the second product of an expert) is done where its numbers are. A layer
// is three kernels:
//   project   norm of what the layer before left, then queries, keys and values
//   attend    attention, output, residual, norm, choice of experts
//   experts   both products of an expert for a tile of its tokens
//
// Weights and activations are float16 (11 bits of fraction), sums float32. A row of weights is divided by its scale, so that
// those stored as int8 are whole numbers and exact. Rows of a matrix lie in the order in which a lane needs its outputs
// together: slot n holds row 32 · (n / 32) + 8 · (n % 8 / 2) + 2 · (n / 8 % 4) + n % 2, so that the sums of four neighbouring tiles
// are eight neighbouring outputs. Halves of a slab's rows change places in every second four, against bank conflicts.
//
// A token's numbers are made by the same operations in the same order whatever else is in the batch and however many rows a
// block takes: company changes nothing.

#define WIDTH 384
#define HEADS 12
#define HEAD 32
#define EXPERTS 16
#define GROUPS 4
#define SLAB (16 * WIDTH)
#define SLABS (WIDTH / 16)
#define MATRIX (WIDTH * WIDTH)
#define ROW (WIDTH + 8)
#define PIECES (WIDTH / 32)
// The root of a head's numbers, and from powers of e to powers of 2.
#define SHARPNESS (0.17677669529663687f * 1.4426950408889634f)

// A batch of texts: how many tokens and texts, each token's number, the first token of its text and the one after the last;
// the first token of each text, and the end.
struct Texts {
    const int* counts;
    const int* tokens;
    const int* starts;
    const int* ends;
    const int* firsts;
    // Tokens that there is room for.
    int capacity;
    int unused;
};

// A product's weights by slabs, the scale of each row, and what is added.
struct Map {
    const u16* slabs;
    const float* scales;
    const float* bias;
};

struct Norm {
    const float* weight;
    const float* bias;
};

// ---- float16 ----

__device__ __forceinline__ u32 half_pair(float first, float second) {
    u32 pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

__device__ __forceinline__ void halves(u32 pair, float& first, float& second) {
    asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.f32.f16 %0, l;\ncvt.f32.f16 %1, h;\n}" : "=f"(first), "=f"(second) : "r"(pair));
}

__device__ __forceinline__ void halves8(uint4 v, float (&out)[8]) {
    halves(v.x, out[0], out[1]);
    halves(v.y, out[2], out[3]);
    halves(v.z, out[4], out[5]);
    halves(v.w, out[6], out[7]);
}

__device__ __forceinline__ uint4 pack8(const float (&v)[8]) {
    return make_uint4(half_pair(v[0], v[1]), half_pair(v[2], v[3]), half_pair(v[4], v[5]), half_pair(v[6], v[7]));
}

__device__ __forceinline__ void read8(const float* from, float (&out)[8]) {
    float4 a = *(const float4*)from, b = *(const float4*)(from + 4);
    out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w, out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
}

// As `mma`, of float16.
__device__ __forceinline__ void mma_half(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

__device__ __forceinline__ float quad_highest(float v) {
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

// x · Φ(x): Φ as 1/2 + x · p(x²), off by at most 5e-5 from where it is 0 or 1 to float16's last bit.
__device__ __forceinline__ float gelu(float x) {
    float c = fminf(fmaxf(x, -4.5f), 4.5f), u = c * c, p = 3.036335072259533e-11f;
    p = p * u - 3.31458505087312e-09f;
    p = p * u + 1.5909688499959884e-07f;
    p = p * u - 4.4516727939480916e-06f;
    p = p * u + 8.142450678860769e-05f;
    p = p * u - 0.00103758682962507f;
    p = p * u + 0.009585185907781124f;
    p = p * u - 0.06598462164402008f;
    p = p * u + 0.3987125754356384f;
    return x * (p * c + 0.5f);
}

// ---- Products ----

// How a block works: its rows; the tiles of 16 rows that a warp takes; warps side by side; slabs that are fetched together, and
// such fetches under way.
template <int ROWS_, int HIGH_, int SIDES_, int FETCH_, int STAGES_> struct Form {
    static const int ROWS = ROWS_, HIGH = HIGH_, SIDES = SIDES_, FETCH = FETCH_, STAGES = STAGES_;
    static const int WIDE = WIDTH / 8 / SIDES, WARPS = ROWS / (16 * HIGH) * SIDES, THREADS = 32 * WARPS;
};
// Few tokens: many warps share 32 rows. Many: two blocks a multiprocessor, one of which computes while the other waits. (Blocks of
// 128 rows, to which the weights pass by half as often, were up to a tenth slower.)
typedef Form<32, 2, 12, 2, 3> Few;
typedef Form<64, 2, 4, 2, 2> Many;

// Slabs on their way to shared memory.
template <class F> struct Slabs {
    u16* room;
    const u16* from;
    int left, put, take;

    __device__ __forceinline__ void fetch() {
        if (left > 0) {
            u16* to = room + put * F::FETCH * SLAB;
            for (int i = 8 * threadIdx.x; i < F::FETCH * SLAB; i += 8 * F::THREADS) copy16(to + i, from + i, 16);
            from += F::FETCH * SLAB;
            put = put + 1 == F::STAGES ? 0 : put + 1;
            --left;
        }
        copies_end();
    }

    __device__ __forceinline__ void begin(u16* where, const u16* slabs, int matrices) {
        room = where, from = slabs, left = matrices * (SLABS / F::FETCH), put = take = 0;
        for (int i = 0; i < F::STAGES - 1; ++i) fetch();
    }

    // The next slabs; every thread of the block is past those before.
    __device__ __forceinline__ const u16* next() {
        copies_wait<F::STAGES - 2>();
        __syncthreads();
        fetch();
        const u16* at = room + take * F::FETCH * SLAB;
        take = take + 1 == F::STAGES ? 0 : take + 1;
        return at;
    }
};

// sums = rows · Wᵀ. Of group `q` of four tiles, a lane's eight sums of a row are neighbours: see `Place`.
template <class F>
__device__ __forceinline__ void multiply(float (&sums)[F::HIGH][F::WIDE][4], const u16* rows, Slabs<F>& slabs) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, high = warp / F::SIDES, side = warp % F::SIDES;
#pragma unroll
    for (int i = 0; i < F::HIGH; ++i)
#pragma unroll
        for (int j = 0; j < F::WIDE; ++j) sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.0f;
    const u16* x = rows + (16 * F::HIGH * high + lane % 16) * ROW + lane / 16 * 8;
    int within = (8 * F::WIDE * side + lane % 8 + lane / 16 * 8) * 16 + (lane / 8 % 2 ^ lane / 4 % 2) * 8;
#pragma unroll 1
    for (int step = 0; step < SLABS; step += F::FETCH) {
        const u16* w = slabs.next() + within;
#pragma unroll
        for (int slab = 0; slab < F::FETCH; ++slab) {
            u32 a[F::HIGH][4];
#pragma unroll
            for (int i = 0; i < F::HIGH; ++i) tiles4(a[i], x + 16 * i * ROW + 16 * (step + slab));
#pragma unroll
            for (int j = 0; j < F::WIDE; j += 2) {
                u32 b[4];
                tiles4(b, w + slab * SLAB + 8 * j * 16);
#pragma unroll
                for (int i = 0; i < F::HIGH; ++i) {
                    mma_half(sums[i][j], a[i][0], a[i][1], a[i][2], a[i][3], b[0], b[1]);
                    mma_half(sums[i][j + 1], a[i][0], a[i][1], a[i][2], a[i][3], b[2], b[3]);
                }
            }
        }
    }
}

// Calls `f(row, column, eight sums, piece)` for all that this lane holds; a piece is 32 columns of the row. The sums are scaled
// and the bias added; what `f` leaves in them is kept.
template <class F, class Do>
__device__ __forceinline__ void each_eight(float (&sums)[F::HIGH][F::WIDE][4], const float* scales, const float* bias, Do f) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, high = warp / F::SIDES, side = warp % F::SIDES;
#pragma unroll
    for (int q = 0; q < F::WIDE / 4; ++q) {
        int piece = side * (F::WIDE / 4) + q, column = 32 * piece + lane % 4 * 8;
        float scale[8], added[8];
        if (scales) read8(scales + column, scale);
        if (bias) read8(bias + column, added);
#pragma unroll
        for (int i = 0; i < F::HIGH; ++i)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float v[8];
#pragma unroll
                for (int e = 0; e < 8; ++e) {
                    v[e] = sums[i][4 * q + e / 2][2 * half + e % 2];
                    if (scales) v[e] = v[e] * scale[e];
                    if (bias) v[e] += added[e];
                }
                f(16 * F::HIGH * high + 16 * i + 8 * half + lane / 4, column, v, piece);
#pragma unroll
                for (int e = 0; e < 8; ++e) sums[i][4 * q + e / 2][2 * half + e % 2] = v[e];
            }
    }
}

// ---- A layer's beginning ----

// Normalises a row of which each lane has twelve numbers: four from column 4 · lane + 128 · c on.
__device__ __forceinline__ void normalise_row(float (&v)[12], const Norm& norm, float epsilon) {
    float sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < 12; ++i) sum += v[i];
    float mean = warp_sum(sum) * (1.0f / WIDTH);
#pragma unroll
    for (int i = 0; i < 12; ++i) squares += (v[i] - mean) * (v[i] - mean);
    float factor = rsqrtf(warp_sum(squares) * (1.0f / WIDTH) + epsilon);
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        int column = 4 * (threadIdx.x % 32) + 128 * c;
        float4 weight = *(const float4*)(norm.weight + column), bias = *(const float4*)(norm.bias + column);
        v[4 * c] = (v[4 * c] - mean) * factor * weight.x + bias.x;
        v[4 * c + 1] = (v[4 * c + 1] - mean) * factor * weight.y + bias.y;
        v[4 * c + 2] = (v[4 * c + 2] - mean) * factor * weight.z + bias.z;
        v[4 * c + 3] = (v[4 * c + 3] - mean) * factor * weight.w + bias.w;
    }
}

__device__ __forceinline__ void add4(float* v, uint2 four) {
    float a, b, c, d;
    halves(four.x, a, b);
    halves(four.y, c, d);
    v[0] += a, v[1] += b, v[2] += c, v[3] += d;
}

// A token's row: of words and places, or of what attention left and the experts say.
struct Origin {
    const u16* words;
    const float* scales;
    // Places, and the segment's vector with them.
    const float* places;
};
struct Branches {
    const u16* x;
    // What the chosen expert of each group says, `[GROUPS, capacity, WIDTH]`.
    const u16* says;
    const float* bias;
};

__device__ __forceinline__ void begin_row(const Origin& from, const Texts& texts, int row, float (&v)[12]) {
    int token = texts.tokens[row], place = row - texts.starts[row];
    float scale = from.scales[token];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        int column = 4 * (threadIdx.x % 32) + 128 * c;
        uint2 word = *(const uint2*)(from.words + (long long)token * WIDTH + column);
        float4 p = *(const float4*)(from.places + (long long)place * WIDTH + column);
        float w[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        add4(w, word);
        v[4 * c] = w[0] * scale + p.x, v[4 * c + 1] = w[1] * scale + p.y;
        v[4 * c + 2] = w[2] * scale + p.z, v[4 * c + 3] = w[3] * scale + p.w;
    }
}

__device__ __forceinline__ void begin_row(const Branches& from, const Texts& texts, int row, float (&v)[12]) {
    uint2 parts[3][1 + GROUPS];
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        long long at = (long long)row * WIDTH + 4 * (threadIdx.x % 32) + 128 * c;
        parts[c][0] = *(const uint2*)(from.x + at);
#pragma unroll
        for (int group = 0; group < GROUPS; ++group)
            parts[c][1 + group] = *(const uint2*)(from.says + (long long)group * texts.capacity * WIDTH + at);
    }
#pragma unroll
    for (int c = 0; c < 3; ++c) {
        float4 bias = *(const float4*)(from.bias + 4 * (threadIdx.x % 32) + 128 * c);
        v[4 * c] = bias.x, v[4 * c + 1] = bias.y, v[4 * c + 2] = bias.z, v[4 * c + 3] = bias.w;
#pragma unroll
        for (int group = 0; group < GROUPS; ++group) add4(v + 4 * c, parts[c][1 + group]);
        add4(v + 4 * c, parts[c][0]);
    }
}

// Rows from where they come, normalised, to `x`; then queries, keys and values. Of the three matrices a block takes all, or the one
// of `blockIdx.y`.
template <class F, class From>
__device__ __forceinline__ void project(const Texts& texts, const From& from, const Norm& norm, float epsilon, const Map& map, u16* x, u16* qkv) {
    int n = texts.counts[0], top = F::ROWS * blockIdx.x;
    if (top >= n) return;
    u16* rows = (u16*)dynamic_memory;
    int first = blockIdx.y, last = gridDim.y == 1 ? 3 : first + 1;
    Slabs<F> slabs;
    slabs.begin(rows + F::ROWS * ROW, map.slabs + first * MATRIX, last - first);
    after_previous();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // Two rows at once, so that their numbers are on their way together.
    for (int r = 2 * warp; r < F::ROWS; r += 2 * F::WARPS) {
        float v[2][12];
#pragma unroll
        for (int i = 0; i < 2; ++i) begin_row(from, texts, min(top + r + i, n - 1), v[i]);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            normalise_row(v[i], norm, epsilon);
#pragma unroll
            for (int c = 0; c < 3; ++c) {
                int column = 4 * lane + 128 * c;
                uint2 four = make_uint2(half_pair(v[i][4 * c], v[i][4 * c + 1]), half_pair(v[i][4 * c + 2], v[i][4 * c + 3]));
                *(uint2*)(rows + (r + i) * ROW + column) = four;
                if (first == 0 && top + r + i < n) *(uint2*)(x + (long long)(top + r + i) * WIDTH + column) = four;
            }
        }
    }
    float sums[F::HIGH][F::WIDE][4];
#pragma unroll 1
    for (int part = first; part < last; ++part) {
        multiply<F>(sums, rows, slabs);
        each_eight<F>(sums, map.scales + part * WIDTH, map.bias + part * WIDTH, [&](int row, int column, float (&v)[8], int) {
            if (top + row < n) *(uint4*)(qkv + (long long)(top + row) * 3 * WIDTH + part * WIDTH + column) = pack8(v);
        });
    }
}

// ---- Attention ----

// 16 keys and values of a head: this lane's part of them. Of a key, the inner places 8t to 8t + 7; of values, four places of four keys.
struct Keys {
    uint4 keys[2];
    uint2 values[4];
};

__device__ __forceinline__ void read_keys(Keys& k, const u16* head, int key, int n) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) k.keys[i] = *(const uint4*)(head + (long long)min(key + 8 * i + g, n - 1) * 3 * WIDTH + WIDTH + 8 * t);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        int at = min(key + 2 * t + i % 2 + i / 2 * 8, n - 1);
        k.values[i] = *(const uint2*)(head + (long long)at * 3 * WIDTH + 2 * WIDTH + 4 * g);
    }
}

// One head of 16 tokens from `top` on, to `out` (rows `ROW` apart). Tokens of several texts are taken text by text, so that what
// a token hears does not depend on its neighbours. Inner places and outputs are taken in the order in which they lie.
__device__ __forceinline__ void attend_tile(const Texts& texts, int n, const u16* qkv, int top, int head, u16* out) {
    int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int rows[2] = {min(top + g, n - 1), min(top + g + 8, n - 1)};
    const u16* base = qkv + head * HEAD;
    uint4 q0 = *(const uint4*)(base + (long long)rows[0] * 3 * WIDTH + 8 * t), q1 = *(const uint4*)(base + (long long)rows[1] * 3 * WIDTH + 8 * t);
    int mine[2] = {texts.starts[rows[0]], texts.starts[rows[1]]};
    float highest[2] = {-INFINITE, -INFINITE}, total[2] = {0.0f, 0.0f}, mixed[4][4];
#pragma unroll
    for (int j = 0; j < 4; ++j) mixed[j][0] = mixed[j][1] = mixed[j][2] = mixed[j][3] = 0.0f;
    int last = min(top + 15, n - 1), text = texts.starts[min(top, n - 1)], end = texts.ends[text], key = text;
    Keys now, later;
    read_keys(now, base, key, n);
    while (true) {
        int next = key + 16, next_text = text, next_end = end;
        if (next >= end) {
            next = next_text = end;
            next_end = end <= last ? texts.ends[end] : end;
        }
        bool more = next_text <= last;
        if (more) read_keys(later, base, next, n);
        float s[2][4];
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0.0f;
            mma_half(s[j], q0.x, q1.x, q0.y, q1.y, now.keys[j].x, now.keys[j].y);
            mma_half(s[j], q0.z, q1.z, q0.w, q1.w, now.keys[j].z, now.keys[j].w);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float top_now = -INFINITE;
#pragma unroll
            for (int j = 0; j < 2; ++j)
#pragma unroll
                for (int c = 0; c < 2; ++c) {
                    float& score = s[j][2 * half + c];
                    bool heard = mine[half] == text && key + 8 * j + 2 * t + c < end;
                    score = heard ? score * SHARPNESS : -INFINITE;
                    top_now = fmaxf(top_now, score);
                }
            float before = highest[half], top_new = fmaxf(before, quad_highest(top_now));
            // Of another text's tokens nothing was heard yet, or no more is.
            float keep = before == top_new ? 1.0f : power_of_two(before - top_new), sum = 0.0f;
#pragma unroll
            for (int j = 0; j < 2; ++j)
#pragma unroll
                for (int c = 0; c < 2; ++c) {
                    float& score = s[j][2 * half + c];
                    score = score == -INFINITE ? 0.0f : power_of_two(score - top_new);
                    sum += score;
                }
            highest[half] = top_new;
            total[half] = total[half] * keep + sum;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                mixed[j][2 * half] *= keep;
                mixed[j][2 * half + 1] *= keep;
            }
        }
        u32 a0 = half_pair(s[0][0], s[0][1]), a1 = half_pair(s[0][2], s[0][3]);
        u32 a2 = half_pair(s[1][0], s[1][1]), a3 = half_pair(s[1][2], s[1][3]);
        const uint2(&v)[4] = now.values;
        mma_half(mixed[0], a0, a1, a2, a3, __byte_perm(v[0].x, v[1].x, 0x5410), __byte_perm(v[2].x, v[3].x, 0x5410));
        mma_half(mixed[1], a0, a1, a2, a3, __byte_perm(v[0].x, v[1].x, 0x7632), __byte_perm(v[2].x, v[3].x, 0x7632));
        mma_half(mixed[2], a0, a1, a2, a3, __byte_perm(v[0].y, v[1].y, 0x5410), __byte_perm(v[2].y, v[3].y, 0x5410));
        mma_half(mixed[3], a0, a1, a2, a3, __byte_perm(v[0].y, v[1].y, 0x7632), __byte_perm(v[2].y, v[3].y, 0x7632));
        if (!more) break;
        key = next, text = next_text, end = next_end, now = later;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float share = 1.0f / quad_sum(total[half]), v[8];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            v[j] = mixed[j][2 * half] * share;
            v[4 + j] = mixed[j][2 * half + 1] * share;
        }
        *(uint4*)(out + (g + 8 * half) * ROW + 8 * t) = pack8(v);
    }
}

// How experts are chosen: the router's weights as two halves each, in the order in which lanes need them; the bias of the choice.
struct Router {
    const uint4* weight;
    const float* bias;
    const float* sharpness;
};

// Each expert's tokens and their gates, `[EXPERTS, capacity]`, and how many.
struct Lists {
    u32* counts;
    int* tokens;
    float* gates;
};

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

// Of each group's experts the one with the highest score, the first of equals, for rows that lie in shared memory. Where in an
// expert's list a token stands is left to chance: what the expert says of it does not depend on that.
template <class F>
__device__ __forceinline__ void choose(const u16* rows, int top, int n, int capacity, const Router& router, const Lists& lists) {
    __shared__ u32 counted[EXPERTS], begin[EXPERTS];
    __shared__ int chosen[F::ROWS][GROUPS];
    __shared__ float gates[F::ROWS][GROUPS];
    if (threadIdx.x < EXPERTS) counted[threadIdx.x] = 0;
    __syncthreads();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    float sharpness = router.sharpness[0];
    for (int task = warp; task < F::ROWS / 8; task += F::WARPS) {
        int tile = task / 2, side = task % 2;
        float high[4] = {0.0f, 0.0f, 0.0f, 0.0f}, low[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        const u16* x = rows + (16 * tile + lane % 16) * ROW + lane / 16 * 8;
#pragma unroll 8
        for (int slab = 0; slab < SLABS; ++slab) {
            u32 a[4];
            tiles4(a, x + 16 * slab);
            uint4 w = router.weight[(2 * slab + side) * 32 + lane];
            mma_half(high, a[0], a[1], a[2], a[3], w.x, w.y);
            mma_half(low, a[0], a[1], a[2], a[3], w.z, w.w);
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            int expert = 8 * side + 2 * t, row = 16 * tile + 8 * half + g;
            float logit = high[2 * half] + low[2 * half], second = high[2 * half + 1] + low[2 * half + 1];
            float score = sigmoid(logit) + router.bias[expert], rival = sigmoid(second) + router.bias[expert + 1];
            if (rival > score) score = rival, logit = second, ++expert;
            rival = __shfl_xor_sync(0xffffffffu, score, 1);
            second = __shfl_xor_sync(0xffffffffu, logit, 1);
            int other = __shfl_xor_sync(0xffffffffu, expert, 1);
            if (t % 2 == 0 && top + row < n) {
                if (rival > score) logit = second, expert = other;
                int group = expert / (EXPERTS / GROUPS);
                chosen[row][group] = expert | (int)atomicAdd(&counted[expert], 1u) << 8;
                gates[row][group] = 2.0f * sigmoid(sharpness * logit);
            }
        }
    }
    __syncthreads();
    if (threadIdx.x < EXPERTS) begin[threadIdx.x] = atomicAdd(&lists.counts[threadIdx.x], counted[threadIdx.x]);
    __syncthreads();
    for (int i = threadIdx.x; i < F::ROWS * GROUPS; i += F::THREADS) {
        int row = i / GROUPS, what = chosen[row][i % GROUPS], expert = what & 255;
        if (top + row >= n) continue;
        long long at = (long long)expert * capacity + begin[expert] + (what >> 8);
        lists.tokens[at] = top + row;
        lists.gates[at] = gates[row][i % GROUPS];
    }
}

// Attention, its output, the residual, the norm, and the choice of experts. `says` is what the layer leaves of each token.
template <class F>
__device__ __forceinline__ void attend(const Texts& texts, const u16* qkv, const u16* x, const Map& map, const Norm& norm, float epsilon,
                                       const Router& router, const Lists& lists, u16* out) {
    int n = texts.counts[0], top = F::ROWS * blockIdx.x;
    if (top >= n) return;
    u16* rows = (u16*)dynamic_memory;
    u16* room = rows + F::ROWS * ROW;
    Slabs<F> slabs;
    slabs.begin(room, map.slabs, 1);
    after_previous();
    for (int task = threadIdx.x / 32; task < F::ROWS / 16 * HEADS; task += F::WARPS) {
        int tile = task / HEADS, head = task % HEADS;
        attend_tile(texts, n, qkv, top + 16 * tile, head, rows + 16 * tile * ROW + head * HEAD);
    }
    float sums[F::HIGH][F::WIDE][4];
    multiply<F>(sums, rows, slabs);
    // All rows were read, and no slab is on its way.
    __syncthreads();
    float (*partial)[PIECES] = (float (*)[PIECES])room;
    float (*squares)[PIECES] = partial + F::ROWS;
    each_eight<F>(sums, map.scales, map.bias, [&](int row, int column, float (&v)[8], int piece) {
        float before[8], sum = 0.0f;
        halves8(*(const uint4*)(x + (long long)min(top + row, n - 1) * WIDTH + column), before);
#pragma unroll
        for (int e = 0; e < 8; ++e) {
            v[e] += before[e];
            sum += v[e];
        }
        sum = quad_sum(sum);
        if (threadIdx.x % 4 == 0) partial[row][piece] = sum;
    });
    __syncthreads();
    auto all = [](const float (&pieces)[PIECES]) {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < PIECES; ++i) sum += pieces[i];
        return sum * (1.0f / WIDTH);
    };
    each_eight<F>(sums, nullptr, nullptr, [&](int row, int, float (&v)[8], int piece) {
        float mean = all(partial[row]), sum = 0.0f;
#pragma unroll
        for (int e = 0; e < 8; ++e) {
            v[e] -= mean;
            sum += v[e] * v[e];
        }
        sum = quad_sum(sum);
        if (threadIdx.x % 4 == 0) squares[row][piece] = sum;
    });
    __syncthreads();
    each_eight<F>(sums, nullptr, nullptr, [&](int row, int column, float (&v)[8], int) {
        float factor = rsqrtf(all(squares[row]) + epsilon), weight[8], bias[8];
        read8(norm.weight + column, weight);
        read8(norm.bias + column, bias);
#pragma unroll
        for (int e = 0; e < 8; ++e) v[e] = v[e] * factor * weight[e] + bias[e];
        uint4 packed = pack8(v);
        *(uint4*)(rows + row * ROW + column) = packed;
        if (top + row < n) *(uint4*)(out + (long long)(top + row) * WIDTH + column) = packed;
    });
    choose<F>(rows, top, n, texts.capacity, router, lists);
}

// ---- Experts ----

// Both products of an expert for a tile of its tokens: what it says, by its gate, to the token's place of its group.
template <class F>
__device__ __forceinline__ void expert(const Texts& texts, const u16* x, const Lists& lists, const Map& up, const float* down_scales, u16* says) {
    __shared__ int tokens[F::ROWS];
    __shared__ float gates[F::ROWS];
    after_previous();
    int expert = 0, tile = blockIdx.x, count = 0;
    for (; expert < EXPERTS; ++expert) {
        count = (int)lists.counts[expert];
        int tiles = (count + F::ROWS - 1) / F::ROWS;
        if (tile < tiles) break;
        tile -= tiles;
    }
    if (expert == EXPERTS) return;
    u16* rows = (u16*)dynamic_memory;
    count = min(F::ROWS, count - tile * F::ROWS);
    if (threadIdx.x < F::ROWS) {
        bool there = (int)threadIdx.x < count;
        long long at = (long long)expert * texts.capacity + tile * F::ROWS + threadIdx.x;
        tokens[threadIdx.x] = there ? lists.tokens[at] : 0;
        gates[threadIdx.x] = there ? lists.gates[at] : 0.0f;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < F::ROWS * (WIDTH / 8); i += F::THREADS) {
        int row = i / (WIDTH / 8), column = i % (WIDTH / 8) * 8;
        copy16(rows + row * ROW + column, x + (long long)tokens[row] * WIDTH + column, row < count ? 16 : 0);
    }
    copies_end();
    Slabs<F> slabs;
    slabs.begin(rows + F::ROWS * ROW, up.slabs + (long long)expert * 2 * MATRIX, 2);
    float sums[F::HIGH][F::WIDE][4];
    multiply<F>(sums, rows, slabs);
    // All rows were read.
    __syncthreads();
    each_eight<F>(sums, up.scales + expert * WIDTH, up.bias + expert * WIDTH, [&](int row, int column, float (&v)[8], int) {
#pragma unroll
        for (int e = 0; e < 8; ++e) v[e] = gelu(v[e]);
        *(uint4*)(rows + row * ROW + column) = pack8(v);
    });
    multiply<F>(sums, rows, slabs);
    u16* to = says + (long long)(expert / (EXPERTS / GROUPS)) * texts.capacity * WIDTH;
    each_eight<F>(sums, down_scales + expert * WIDTH, nullptr, [&](int row, int column, float (&v)[8], int) {
        if (row >= count) return;
        float gate = gates[row];
#pragma unroll
        for (int e = 0; e < 8; ++e) v[e] *= gate;
        *(uint4*)(to + (long long)tokens[row] * WIDTH + column) = pack8(v);
    });
}

// Defines the kernels for a form.
#define KERNELS(NAME, FORM, BLOCKS)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(FORM::THREADS, BLOCKS)                                                               \
        first_##NAME(Texts texts, Origin from, Norm norm, float epsilon, Map map, u16* x, u16* qkv) {                                 \
        project<FORM>(texts, from, norm, epsilon, map, x, qkv);                                                                       \
    }                                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(FORM::THREADS, BLOCKS)                                                               \
        project_##NAME(Texts texts, Branches from, Norm norm, float epsilon, Map map, u16* x, u16* qkv) {                             \
        project<FORM>(texts, from, norm, epsilon, map, x, qkv);                                                                       \
    }                                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(FORM::THREADS, BLOCKS)                                                               \
        attend_##NAME(Texts texts, const u16* qkv, const u16* x, Map map, Norm norm, float epsilon, Router router, Lists lists, u16* out) { \
        attend<FORM>(texts, qkv, x, map, norm, epsilon, router, lists, out);                                                          \
    }                                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(FORM::THREADS, BLOCKS)                                                               \
        experts_##NAME(Texts texts, const u16* x, Lists lists, Map up, const float* down_scales, u16* says) {                         \
        expert<FORM>(texts, x, lists, up, down_scales, says);                                                                         \
    }
KERNELS(few, Few, 1)
KERNELS(many, Many, 2)

// ---- The end ----

// Of each text the first token's last vector and the mean of all, `[texts, 2 · WIDTH]`, to memory of the machine. The counts of experts' tokens go out before
// them, and are zero for the next batch.
extern "C" __global__ void __launch_bounds__(128) read_out(Texts texts, Branches from, Norm norm, float epsilon, u32* counts, int experts, float* out) {
    __shared__ float means[4][WIDTH];
    after_previous();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (blockIdx.x == 0)
        for (int i = threadIdx.x; i < experts; i += blockDim.x) {
            out[i] = __uint_as_float(counts[i]);
            counts[i] = 0;
        }
    out += experts;
    for (int text = blockIdx.x; text < texts.counts[1]; text += gridDim.x) {
        int first = texts.firsts[text], end = texts.firsts[text + 1];
        float sum[12] = {};
        for (int row = first + warp; row < end; row += 4) {
            float v[12];
            begin_row(from, texts, row, v);
            normalise_row(v, norm, epsilon);
#pragma unroll
            for (int i = 0; i < 12; ++i) sum[i] += v[i];
            if (row == first)
#pragma unroll
                for (int c = 0; c < 3; ++c)
                    *(float4*)(out + (long long)text * 2 * WIDTH + 4 * lane + 128 * c) = make_float4(v[4 * c], v[4 * c + 1], v[4 * c + 2], v[4 * c + 3]);
        }
#pragma unroll
        for (int c = 0; c < 3; ++c)
            *(float4*)(&means[warp][4 * lane + 128 * c]) = make_float4(sum[4 * c], sum[4 * c + 1], sum[4 * c + 2], sum[4 * c + 3]);
        __syncthreads();
        for (int column = threadIdx.x; column < WIDTH; column += blockDim.x)
            out[((long long)text * 2 + 1) * WIDTH + column] =
                (means[0][column] + means[1][column] + means[2][column] + means[3][column]) / (float)(end - first);
        __syncthreads();
    }
}
