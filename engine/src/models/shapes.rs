//! Shapes of published models, for measuring without their weights.

use serde_json::{Value, json};

/// The shapes that are known.
pub(crate) const NAMES: [&str; 4] = ["candor-generator", "deepseek-v2-lite", "qwen3-30b-a3b", "tiny"];

/// `config.json` of a shape.
#[must_use]
pub(crate) fn config(name: &str) -> Option<Value> {
    Some(match name {
        "candor-generator" => json!({
            "model_type": "deepseek_v3", "vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1280,
            "moe_intermediate_size": 256, "num_hidden_layers": 8, "num_attention_heads": 6, "n_routed_experts": 16,
            "n_shared_experts": 1, "num_experts_per_tok": 4, "n_group": 1, "topk_group": 1, "kv_lora_rank": 128,
            "q_lora_rank": null, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32, "v_head_dim": 64,
            "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": true,
        }),
        "deepseek-v2-lite" => json!({
            "model_type": "deepseek_v2", "vocab_size": 102_400, "hidden_size": 2048, "intermediate_size": 10_944,
            "moe_intermediate_size": 1408, "num_hidden_layers": 27, "num_attention_heads": 16, "n_routed_experts": 64,
            "n_shared_experts": 2, "num_experts_per_tok": 6, "topk_method": "greedy", "kv_lora_rank": 512,
            "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
            "first_k_dense_replace": 1, "max_position_embeddings": 163_840, "rms_norm_eps": 1e-6,
        }),
        "qwen3-30b-a3b" => json!({
            "model_type": "qwen3_moe", "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 6144,
            "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
            "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true,
            "max_position_embeddings": 262_144, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0,
        }),
        // A Qwen3-MoE of the shipped model's size, to be measured beside engines that do not know its architecture.
        "tiny" => json!({
            "model_type": "qwen3_moe", "vocab_size": 8192, "hidden_size": 384, "intermediate_size": 1280,
            "moe_intermediate_size": 256, "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2,
            "head_dim": 64, "num_experts": 16, "num_experts_per_tok": 5, "norm_topk_prob": true,
            "max_position_embeddings": 8192, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0,
        }),
        _ => return None,
    })
}
