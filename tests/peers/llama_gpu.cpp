// How fast llama.cpp writes: for 1 and more sequences with so many tokens in their caches, milliseconds of the median step.
//
//   llama_gpu MODEL.gguf CONTEXT BATCH,BATCH,... [STEPS]
//
// Tokens are drawn, not sampled: a step is one llama_decode of a token for each sequence, with its logits, and nothing else.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "llama.h"

static void add(llama_batch& batch, int token, int position, int sequence, bool logits) {
    int i = batch.n_tokens++;
    batch.token[i] = token, batch.pos[i] = position, batch.n_seq_id[i] = 1, batch.seq_id[i][0] = sequence, batch.logits[i] = logits;
}

int main(int count, char** values) {
    if (count < 4) return fprintf(stderr, "llama_gpu MODEL.gguf CONTEXT BATCH,BATCH,... [STEPS]\n"), 2;
    int context = atoi(values[2]), steps = count > 4 ? atoi(values[4]) : 32;
    llama_log_set([](ggml_log_level level, const char* text, void*) { if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr); }, nullptr);
    llama_backend_init();
    llama_model_params how = llama_model_default_params();
    how.n_gpu_layers = 999;
    llama_model* model = llama_model_load_from_file(values[1], how);
    if (!model) return 1;
    int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::mt19937 random(1);
    std::stringstream batches(values[3]);
    for (std::string one; std::getline(batches, one, ',');) {
        int sequences = atoi(one.c_str());
        llama_context_params with = llama_context_default_params();
        with.n_ctx = sequences * (context + steps + 16), with.n_batch = with.n_ubatch = 2048, with.n_seq_max = sequences, with.kv_unified = false;
        llama_context* running = llama_init_from_model(model, with);
        if (!running) return 1;
        llama_batch batch = llama_batch_init(2048, 0, 1);
        for (int sequence = 0; sequence < sequences; ++sequence) {
            for (int done = 0; done < context; done += batch.n_tokens) {
                batch.n_tokens = 0;
                for (int at = done; at < std::min(context, done + 2048); ++at) add(batch, random() % vocabulary, at, sequence, false);
                if (llama_decode(running, batch)) return fprintf(stderr, "a prompt failed\n"), 1;
            }
        }
        llama_synchronize(running);
        std::vector<double> took;
        for (int step = 0; step < steps + 4; ++step) {
            batch.n_tokens = 0;
            for (int sequence = 0; sequence < sequences; ++sequence) add(batch, random() % vocabulary, context + step, sequence, true);
            auto begun = std::chrono::steady_clock::now();
            if (llama_decode(running, batch)) return fprintf(stderr, "a step failed\n"), 1;
            llama_synchronize(running);
            // What is made once belongs to no step.
            if (step >= 4) took.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun).count());
        }
        std::sort(took.begin(), took.end());
        double median = took[took.size() / 2];
        printf("llama.cpp %s context %d: %d sequences: %.2f ms a step, %.0f tokens a second\n", values[1], context, sequences, median, 1e3 * sequences / median);
        fflush(stdout);
        llama_batch_free(batch);
        llama_free(running);
    }
}
