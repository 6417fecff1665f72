// Products of few tokens: what they read of tokens, a unit of weights times eight tokens, and the sums that the warps of a block found.
// Behind `numbers.cu`, before every other file.

// ---- What products read ----
//
// A lane asks for numbers of the token of its column in both planes, as pairs. A column without a token reads another one's, as nobody
// reads what becomes of it. A place that is not `there` has weights of zero, and counts for nothing else.

// Two neighbouring pairs of numbers of one plane; CROSSED: the even places, then the odd ones.
template <bool CROSSED> __device__ __forceinline__ uint2 pairs_of(uint2 v) {
    return CROSSED ? make_uint2(__byte_perm(v.x, v.y, 0x5410), __byte_perm(v.x, v.y, 0x7632)) : v;
}

// Where a lane's `part`-th four numbers of a unit lie: 16 neighbouring ones of each 64.
__device__ __forceinline__ int place_of_four(int part) { return 64 * (part / 4) + 16 * (threadIdx.x % 4) + 4 * (part % 4); }

// Tokens whose planes lie ready.
template <int TILES> struct Planes {
    static const bool NORMED = false;
    const u16* at[TILES];
    long long low;

    __device__ __forceinline__ void eight(int tile, int unit, bool, uint4& high, uint4& rest) {
        const u16* from = at[tile] + unit + 8 * (threadIdx.x % 4);
        high = *(const uint4*)from;
        rest = *(const uint4*)(from + low);
    }
    template <bool CROSSED> __device__ __forceinline__ void four(int tile, int unit, int part, bool, uint2& high, uint2& rest) {
        const u16* from = at[tile] + unit + place_of_four(part);
        high = pairs_of<CROSSED>(*(const uint2*)from);
        rest = pairs_of<CROSSED>(*(const uint2*)(from + low));
    }
    template <bool CROSSED> __device__ __forceinline__ void sixteen(int tile, int unit, int part, bool, uint2* high, uint2* rest) {
        const u16* from = at[tile] + unit + place_of_four(4 * part);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            uint4 h = *(const uint4*)(from + 8 * i), l = *(const uint4*)(from + low + 8 * i);
            high[2 * i] = pairs_of<CROSSED>(make_uint2(h.x, h.y)), high[2 * i + 1] = pairs_of<CROSSED>(make_uint2(h.z, h.w));
            rest[2 * i] = pairs_of<CROSSED>(make_uint2(l.x, l.y)), rest[2 * i + 1] = pairs_of<CROSSED>(make_uint2(l.z, l.w));
        }
    }
    __device__ __forceinline__ void end(float*) {}
};

// Tokens of the residual stream on their way through a root-mean-square norm. A product reads x · weight and adds up the squares
// of x; times `factor_of` the squares it is the product with the norm. Rows have `columns` numbers, a multiple of eight.
struct Normed {
    static const bool NORMED = true;
    const float *x, *weight;
    int columns;
    float squares;

    __device__ __forceinline__ void two(float a, float b, float u, float v, u32& high, u32& rest) {
        squares += a * a;
        squares += b * b;
        a *= u;
        b *= v;
        high = bf16_pair(a, b);
        rest = bf16_pair(a - bf16_low(high), b - bf16_high(high));
    }
    __device__ __forceinline__ float4 read(const float* from, int column, bool there) {
        return there && column < columns ? *(const float4*)(from + column) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
    __device__ __forceinline__ void eight(int, int unit, bool there, uint4& high, uint4& rest) {
        int column = unit + 8 * (threadIdx.x % 4);
        float4 a = read(x, column, there), b = read(x, column + 4, there);
        float4 u = read(weight, column, there), v = read(weight, column + 4, there);
        two(a.x, a.y, u.x, u.y, high.x, rest.x);
        two(a.z, a.w, u.z, u.w, high.y, rest.y);
        two(b.x, b.y, v.x, v.y, high.z, rest.z);
        two(b.z, b.w, v.z, v.w, high.w, rest.w);
    }
    template <bool CROSSED> __device__ __forceinline__ void four(int, int unit, int part, bool there, uint2& high, uint2& rest) {
        int column = unit + place_of_four(part);
        float4 a = read(x, column, there), u = read(weight, column, there);
        two(a.x, CROSSED ? a.z : a.y, u.x, CROSSED ? u.z : u.y, high.x, rest.x);
        two(CROSSED ? a.y : a.z, a.w, CROSSED ? u.y : u.z, u.w, high.y, rest.y);
    }
    template <bool CROSSED> __device__ __forceinline__ void sixteen(int tile, int unit, int part, bool there, uint2* high, uint2* rest) {
#pragma unroll
        for (int i = 0; i < 4; ++i) four<CROSSED>(tile, unit, 4 * part + i, there, high[i], rest[i]);
    }
    // What this warp found of each token's squares, to `room` [warps, 8].
    __device__ __forceinline__ void end(float* room) {
        float sum = squares;
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        if (threadIdx.x % 4 == 0) room[threadIdx.x / 4] = sum;
    }
};

// The same, and notes in planes what it reads.
struct Noted : Normed {
    u16* to;
    long long low;

    __device__ __forceinline__ void eight(int tile, int unit, bool there, uint4& high, uint4& rest) {
        Normed::eight(tile, unit, there, high, rest);
        if (!to) return;
        u16* place = to + unit + 8 * (threadIdx.x % 4);
        *(uint4*)place = high;
        *(uint4*)(place + low) = rest;
    }
};

// What a unit of weights meets of tokens, asked for before the weights have come.
template <int FORMAT, int TILES> struct Ready {
    static const int parts = FORMAT == BF16 ? 2 : FORMAT == INT8 ? 4 : 8;
    uint2 high[TILES][parts], rest[TILES][parts];

    template <class Source> __device__ __forceinline__ void read(Source& x, int unit, bool there) {
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
            if constexpr (FORMAT == BF16) {
                uint4 h, l;
                x.eight(j, unit, there, h, l);
                high[j][0] = make_uint2(h.x, h.y), high[j][1] = make_uint2(h.z, h.w);
                rest[j][0] = make_uint2(l.x, l.y), rest[j][1] = make_uint2(l.z, l.w);
            } else {
#pragma unroll
                for (int i = 0; i < parts / 4; ++i) x.template sixteen<FORMAT == INT4>(j, unit, i, there, high[j] + 4 * i, rest[j] + 4 * i);
            }
        }
    }
    __device__ __forceinline__ void eight(int tile, int, bool, uint4& h, uint4& l) {
        h = make_uint4(high[tile][0].x, high[tile][0].y, high[tile][1].x, high[tile][1].y);
        l = make_uint4(rest[tile][0].x, rest[tile][0].y, rest[tile][1].x, rest[tile][1].y);
    }
    template <bool> __device__ __forceinline__ void four(int tile, int, int part, bool, uint2& h, uint2& l) {
        h = high[tile][part], l = rest[tile][part];
    }
};

// What a kernel is told of its tokens: planes [n, pitch], or rows of the stream [n, width] and the weight of their norm. Where `squares`
// [parts, n] are there, planes are x · weight without the norm's factor.
struct Input {
    const u16* planes;
    long long low;
    const float *values, *weight, *squares;
    int pitch, width;
    float epsilon;
    int parts;
};

// The tokens `token[tile]` of this lane's columns.
template <int TILES> __device__ __forceinline__ void find(const Input& input, int, const int (&token)[TILES], Planes<TILES>& x) {
    x.low = input.low;
#pragma unroll
    for (int j = 0; j < TILES; ++j) x.at[j] = input.planes + (long long)token[j] * input.pitch;
}
template <int TILES> __device__ __forceinline__ void find(const Input& input, int columns, const int (&token)[TILES], Normed& x) {
    x.x = input.values + (long long)token[0] * input.width;
    x.weight = input.weight;
    x.columns = columns;
    x.squares = 0.0f;
}

// The squares of one of `n` tokens.
__device__ __forceinline__ float squares_of(const Input& input, int n, int token) {
    float sum = 0.0f;
#pragma unroll 4
    for (int part = 0; part < input.parts; ++part) sum += input.squares[part * n + token];
    return sum;
}

// The factor of column `token`'s norm, from what `warps` warps found.
__device__ __forceinline__ float factor_of(const float* room, int warps, int token, int columns, float epsilon) {
    float sum = 0.0f;
    for (int warp = 0; warp < warps; ++warp) sum += room[8 * warp + token];
    return rsqrtf(sum / (float)columns + epsilon);
}

// ---- Products ----

// sums[c][j][16 x 8] += a unit of weights times up to 8 tokens a tile.
template <int FORMAT, int TILES, int COUNT, class Source>
__device__ __forceinline__ void multiply(const Piece<FORMAT, COUNT>& piece, int unit, bool there, Source& x,
                                         float (&sums)[COUNT][TILES][4]) {
    if constexpr (FORMAT == BF16) {
#pragma unroll
        for (int j = 0; j < TILES; ++j) {
            uint4 h, l;
            x.eight(j, unit, there, h, l);
#pragma unroll
            for (int c = 0; c < COUNT; ++c) {
                uint4 p = piece.codes[c][0], q = piece.codes[c][1];
                mma(sums[c][j], p.x, q.x, p.y, q.y, h.x, h.y);
                mma(sums[c][j], p.z, q.z, p.w, q.w, h.z, h.w);
                mma(sums[c][j], p.x, q.x, p.y, q.y, l.x, l.y);
                mma(sums[c][j], p.z, q.z, p.w, q.w, l.z, l.w);
            }
        }
    } else {
        // Words of four codes of 8 bits, or of eight of 4 bits, of which the upper ones lie 64 places further.
        float part[COUNT][TILES][4] = {};
        u32 offset[COUNT][2];
#pragma unroll
        for (int c = 0; c < COUNT; ++c) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                float z = FORMAT == INT4 ? -128.0f - piece.scales[c][r].y : 0.0f;
                offset[c][r] = bf16_pair(z, z);
            }
        }
#pragma unroll
        for (int half = 0; half < (FORMAT == INT4 ? 2 : 1); ++half) {
#pragma unroll
            for (int s = 0; s < 4; ++s) {
                u32 w[COUNT][4];
#pragma unroll
                for (int c = 0; c < COUNT; ++c) {
#pragma unroll
                    for (int r = 0; r < 2; ++r) {
                        uint4 v = piece.codes[c][r];
                        u32 word = s == 0 ? v.x : s == 1 ? v.y : s == 2 ? v.z : v.w;
                        if (FORMAT == INT8) {
                            widen8(word, w[c][r], w[c][r + 2]);
                        } else {
                            w[c][r] = widen4(word >> (4 * half), offset[c][r]);
                            w[c][r + 2] = widen4(word >> (4 * half + 8), offset[c][r]);
                        }
                    }
                }
#pragma unroll
                for (int j = 0; j < TILES; ++j) {
                    uint2 h, l;
                    x.template four<FORMAT == INT4>(j, unit, 4 * half + s, there, h, l);
#pragma unroll
                    for (int c = 0; c < COUNT; ++c) {
                        mma(part[c][j], w[c][0], w[c][1], w[c][2], w[c][3], h.x, h.y);
                        mma(part[c][j], w[c][0], w[c][1], w[c][2], w[c][3], l.x, l.y);
                    }
                }
            }
        }
#pragma unroll
        for (int c = 0; c < COUNT; ++c)
#pragma unroll
            for (int j = 0; j < TILES; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) sums[c][j][e] += FORMAT == INT4 ? piece.scales[c][e / 2].x * part[c][j][e] : part[c][j][e];
    }
}

template <int FORMAT, int COUNT, int TILES>
__device__ __forceinline__ void join(const float (&all)[COUNT * Made<FORMAT>::planes][TILES][4], float (&sums)[COUNT][TILES][4]) {
#pragma unroll
    for (int c = 0; c < COUNT * Made<FORMAT>::planes; ++c)
#pragma unroll
        for (int j = 0; j < TILES; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[c % COUNT][j][e] += all[c][j][e];
}

// sums[c][j][16 x 8] += rows `row`..`row + 15` of `m[c]`, from inner place `from` to `to`, times up to 8 tokens a tile. Inner places may
// be taken in any order as long as both sides agree: each lane reads 16 neighbouring bytes.
template <int FORMAT, int TILES, int COUNT, class Source>
__device__ __forceinline__ void product(const Matrix (&m)[COUNT], int row, int from, int to, Source& x,
                                        float (&sums)[COUNT][TILES][4]) {
    const int format = Made<FORMAT>::of, count = COUNT * Made<FORMAT>::planes, size = Unit<FORMAT>::size;
    const int units = (format == BF16 ? 4 : 2) / (count > 2 ? 2 : count);
    Matrix all[count];
    planes_of<FORMAT, COUNT>(m, all);
    Lines<format, count> lines;
    lines.find(all, row);
    float found[count][TILES][4] = {};
    for (int k = from; k < to; k += size * units) {
        Piece<format, count> pieces[units];
#pragma unroll
        for (int i = 0; i < units; ++i) {
            int unit = min(k + size * i, to - size) / size;
#pragma unroll
            for (int c = 0; c < count; ++c) {
#pragma unroll
                for (int r = 0; r < 2; ++r) {
                    // A unit has 64 bytes of a row in every format.
                    pieces[i].codes[c][r] = stream16(lines.codes[c][r] + 64 * unit);
                    if (format == INT4) pieces[i].scales[c][r] = *(const float2*)(lines.scales[c][r] + 2 * unit);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < units; ++i)
            if (k + size * i < to) multiply<format, TILES, count>(pieces[i], k + size * i, true, x, found);
    }
    join<FORMAT, COUNT, TILES>(found, sums);
}

// A product whose weights are on their way: `begin` asks for the first, `end` is the product.
template <int FORMAT, int COUNT> struct Streamed {
    static const int format = Made<FORMAT>::of, count = COUNT * Made<FORMAT>::planes, size = Unit<FORMAT>::size;
    typedef Way<format, count> Weights;
    Weights way;
    Lines<format, count> lines;
    int from, to;

    __device__ __forceinline__ void ask(int number) { way.ask(lines, number, from / size + number, from + number * size < to); }

    __device__ __forceinline__ void begin(const Matrix (&m)[COUNT], int row, int first, int last, void* room) {
        Matrix all[count];
        planes_of<FORMAT, COUNT>(m, all);
        lines.find(all, row);
        from = first, to = last;
        way.open(room);
#pragma unroll
        for (int i = 0; i < Weights::slots; ++i) ask(i);
    }

    template <int TILES, class Source> __device__ __forceinline__ void end(Source& x, float (&sums)[COUNT][TILES][4]) {
        // What 128 places make of a norm is too much to wait in registers.
        const bool early = !(Source::NORMED && format == INT4);
        float found[count][TILES][4] = {};
        int units = (to - from) / size;
        for (int number = 0; number < units; number += Weights::batch) {
            Ready<format, TILES> met[Weights::batch];
            // Behind the last unit there are weights of zero.
#pragma unroll
            for (int i = 0; early && i < Weights::batch; ++i) {
                bool there = number + i < units;
                met[i].read(x, there ? from + (number + i) * size : from, there);
            }
            copies_wait<Weights::slots - Weights::batch>();
#pragma unroll
            for (int i = 0; i < Weights::batch; ++i) {
                Piece<format, count> piece;
                way.take(number + i, piece);
                if constexpr (early) multiply<format, TILES, count>(piece, 0, true, met[i], found);
                else multiply<format, TILES, count>(piece, from + (number + i) * size, number + i < units, x, found);
            }
#pragma unroll
            for (int i = 0; i < Weights::batch; ++i) ask(number + Weights::slots + i);
        }
        join<FORMAT, COUNT, TILES>(found, sums);
    }
};

// Weights that keep coming to a warp, product after product. Whoever uses it says which matrices are next when nothing is left to be
// asked for.
template <int FORMAT, int COUNT> struct Flow {
    static const int format = Made<FORMAT>::of, count = COUNT * Made<FORMAT>::planes, size = Unit<FORMAT>::size;
    typedef Way<format, count> Weights;
    static const int slots = Weights::slots, batch = Weights::batch;
    Weights way;
    Lines<format, count> lines;
    // Units that were asked for and used; those left of the product that is asked for, with zeros behind it, and the next of them.
    int asked, used, left, real, unit;

    // What is not to be read must be `somewhere` too.
    __device__ __forceinline__ void open(void* room, const void* somewhere) {
        way.open(room);
        asked = used = left = real = unit = 0;
#pragma unroll
        for (int c = 0; c < count; ++c)
#pragma unroll
            for (int r = 0; r < 2; ++r) lines.codes[c][r] = (const u8*)somewhere, lines.scales[c][r] = (const float*)somewhere;
    }
    __device__ __forceinline__ bool empty() { return left == 0; }
    // Units of a product, with zeros behind it, so that they are used in whole batches.
    __device__ __forceinline__ int units(int from, int to) { return ((to - from) / size + batch - 1) / batch * batch; }
    __device__ __forceinline__ void next(const Matrix (&m)[COUNT], int row, int from, int to) {
        Matrix all[count];
        planes_of<FORMAT, COUNT>(m, all);
        lines.find(all, row);
        unit = from / size, real = (to - from) / size, left = units(from, to);
    }
    __device__ __forceinline__ void ask() {
        way.ask(lines, asked++, unit++, real-- > 0);
        if (left > 0) --left;
    }
    // sums += the product whose weights come next; `more` asks for what comes after.
    template <int TILES, class Source, class More>
    __device__ __forceinline__ void multiply(int from, int to, Source& x, float (&sums)[COUNT][TILES][4], More more) {
        float found[count][TILES][4] = {};
#pragma unroll 1
        for (int at = from; at < to; at += batch * size) {
            Ready<format, TILES> met[batch];
#pragma unroll
            for (int i = 0; i < batch; ++i) {
                bool there = at + i * size < to;
                met[i].read(x, there ? at + i * size : from, there);
            }
            copies_wait<slots - batch>();
#pragma unroll
            for (int i = 0; i < batch; ++i) {
                Piece<format, count> piece;
                way.take(used++, piece);
                ::multiply<format, TILES, count>(piece, 0, true, met[i], found);
            }
#pragma unroll
            for (int i = 0; i < batch; ++i) more();
        }
        join<FORMAT, COUNT, TILES>(found, sums);
    }
};

// This warp's share of `columns` inner places, of `warps`.
template <int FORMAT> __device__ __forceinline__ void share(int columns, int warps, int warp, int& from, int& to) {
    int unit = Unit<FORMAT>::size, units = (columns + unit - 1) / unit, each = (units + warps - 1) / warps;
    from = min(units, warp * each) * unit;
    to = min(units, (warp + 1) * each) * unit;
}

// Lays what a warp found where the block brings it together.
template <int TILES> __device__ __forceinline__ void lay(const float (&sums)[TILES][4], float* room) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int j = 0; j < TILES; ++j) {
        float* tile = room + (warp * TILES + j) * 128;
        *(float2*)(tile + 8 * g + 2 * t) = make_float2(sums[j][0], sums[j][1]);
        *(float2*)(tile + 8 * (g + 8) + 2 * t) = make_float2(sums[j][2], sums[j][3]);
    }
}

// Adds what the warps of a block found, in their order: entry `e` of 128 · TILES is row (e / 8) % 16 of token 8 · (e / 128) + e % 8.
// `room` holds warps · TILES · 128 numbers, and `squares` warps · 8 where there is a norm.
template <int TILES, class Source>
__device__ __forceinline__ void gather(float (&sums)[TILES][4], float* room, Source& x, float* squares) {
    __syncthreads();
    lay<TILES>(sums, room);
    x.end(squares);
    __syncthreads();
}

template <int TILES> __device__ __forceinline__ float gathered(const float* room, int warps, int entry) {
    float sum = 0.0f;
    for (int warp = 0; warp < warps; ++warp) sum += room[warp * TILES * 128 + entry];
    return sum;
}

// ---- Experts ----

struct Expert {
    Matrix gate, up, down;
};

struct Pairs {
    const Expert* experts;  // the shared block is the last
    const int *order, *starts, *active, *tiles, *counts;
    const float* weights;   // of the pairs of chosen experts
    int n, chosen, number, shared;  // tokens, experts a token, experts, whether there is a shared block
};

__device__ __forceinline__ int token_of(const Pairs& p, int pair) {
    int routed = p.n * p.chosen;
    return pair < routed ? pair / p.chosen : pair - routed;
}
