/** The shapes of the bundled models, as they stand in their `config.json`. */

export const chatConfig = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 2304,
  hidden_size: 192,
  num_hidden_layers: 4,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 32,
  intermediate_size: 512,
  max_position_embeddings: 1024,
  rope_theta: 10000,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  hidden_act: "silu",
  bos_token_id: 0,
  eos_token_id: 5,
  pad_token_id: 0
}

/** What both models' `tokenizer_config.json` says. */
export const tokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: "<|endoftext|>",
  eos_token: "<|end|>",
  pad_token: "<|endoftext|>",
  clean_up_tokenization_spaces: false
}

/**
 * How helix-demo samples where a request does not say. It knows one good answer to most questions, so the tail of the
 * distribution holds mistakes only: at the usual temperature of 1 it is cut off.
 */
export const generationConfig = {
  bos_token_id: 0,
  eos_token_id: 5,
  pad_token_id: 0,
  do_sample: true,
  temperature: 0.3,
  top_p: 0.5,
  top_k: 10,
  max_new_tokens: 256
}

export const embedConfig = {
  model_type: "bert",
  architectures: ["BertModel"],
  vocab_size: 1024,
  hidden_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 384,
  max_position_embeddings: 256,
  type_vocab_size: 1,
  layer_norm_eps: 1e-12,
  hidden_act: "gelu",
  pad_token_id: 0
}
